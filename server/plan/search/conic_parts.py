"""P1 in disciplined convex form: the two sides of it as parts for cvxpy, each with its variables and limits.

Conic solvers need numbers near 1, so every device has units of its own (`Units`). The cones:

  curves   E = P_s*t + kappa*(w*N)**3/u**2 + kappa*(a/w)*(w*N)**4/u**3 with N = n*D, u = t - a*N, by quadratic cones:
           v >= N**2/u, then v**2/N and v**2/u. (Power cones say the same; the solver ends on them far less often.)
  tables   samples at each point of the hull: time sharing
  hertz    m**2 <= b*s and x >= 1/m**2 by quadratic cones; the radiated (c*L/eff)*(e**x - 1)/x is the integral of
           e**(v*x) over v in [0, 1], here Gauss's rule, whose weights are positive: exponential cones, exact to 1e-9 up
           to x = 20
  power    b*e**(xi/b) - b <= p/c with xi*s >= L: an exponential cone
  error    r >= x**-beta: a power cone; a pooled target is linear
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models import energy, learning_curve, radio
from server.plan.fleet import Fleet

_NODES = 12  # of Gauss's rule

Expression = Any  # cvxpy has no types
Side = tuple[Expression, list[Expression]]  # joules and limits


@dataclass(frozen=True)
class Units:
    """What the variables are multiples of: samples, seconds of computing and of uploading (I,), hertz and joules.

    Uploads are counted in what they take on an equal share of the medium at full power.
    """

    samples: np.ndarray
    compute_s: np.ndarray
    upload_s: np.ndarray
    band_hz: float
    joules: float


@dataclass(frozen=True)
class Part:
    """One side of the problem: joules, limits, and its variables (I,) in units; seconds in rounds."""

    joules: Expression
    limits: list[Expression]
    seconds: Expression
    amount: Expression  # samples, or what is used of the medium in parts of its capacity


def units(fleet: Fleet) -> Units:
    """Units in which the answer is of the order of 1."""
    curve, links = fleet.curve, fleet.links
    samples = fleet.local
    if fleet.target_error is not None:
        worth = learning_curve.samples_for_error(fleet.target_error, curve.alpha, curve.beta, curve.gamma)
        samples = np.clip(fleet.local + (worth - fleet.local) / fleet.eta, fleet.local, fleet.most)
    samples = np.maximum(samples, 1e-3)
    compute_s = fleet.epochs * samples * fleet.tau_min_s
    per_sample = np.empty(len(fleet))
    per_sample[fleet.tables.rows] = fleet.tables.joules[:, -1]
    law = fleet.curves
    per_sample[law.rows] = energy.joules_per_sample(
        fleet.tau_idle_s[law.rows], law.fixed_s, law.cycles, law.power_static_w, law.kappa
    )
    sending = np.where(links.banded, links.noise_w_per_hz * fleet.upload_bits * radio.LN2 / links.efficiency, 0.0)
    joules = fleet.epochs * samples * per_sample + sending + 0.1 * links.overhead_w * fleet.round_s
    band_hz = fleet.capacity / max(int(links.banded.sum()), 1)
    upload_s = np.array(radio.wired_seconds(fleet.upload_bits, links.rate_bits_per_s))
    upload_s[links.shared] *= max(int(links.shared.sum()), 1)
    on = links.banded
    channel = (links.power_w[on], links.noise_w_per_hz[on])
    upload_s[on] = radio.seconds_at_power(fleet.upload_bits[on], np.full(int(on.sum()), band_hz), *channel)
    return Units(samples, compute_s, upload_s, band_hz, float(joules.mean()))


def compute_part(fleet: Fleet, unit: Units) -> Part:
    """Samples and busy seconds of every device, with the accuracy target."""
    import cvxpy as cp

    samples, seconds = cp.Variable(len(fleet)), cp.Variable(len(fleet))  # in units
    limits = [seconds >= samples, samples >= fleet.local / unit.samples, samples <= fleet.most / unit.samples]
    joules: Expression = 0.0
    if len(fleet.tables.rows):
        more = _tables(fleet, unit, samples, seconds)
        joules, limits = joules + more[0], limits + more[1]
    if len(fleet.curves.rows):
        more = _curves(fleet, unit, samples, seconds)
        joules, limits = joules + more[0], limits + more[1]
    curve = fleet.curve
    if fleet.target_error is not None:
        one = learning_curve.samples_for_error(fleet.target_error, curve.alpha, curve.beta, curve.gamma)
        worth = ((1 - fleet.eta) * fleet.local + fleet.eta * cp.multiply(unit.samples, samples)) / one
        if fleet.pooled:
            limits.append(cp.sum(worth) >= len(fleet))
        else:
            error, ones = cp.Variable(len(fleet)), np.ones(len(fleet))
            cone = cp.PowCone3D(error, worth, cp.Constant(ones), ones / (1 + curve.beta))
            limits += [cone, cp.sum(error) <= len(fleet)]
    return Part(joules, limits, cp.multiply(unit.compute_s / fleet.round_s, seconds), samples)


def _tables(fleet: Fleet, unit: Units, samples: Expression, seconds: Expression) -> Side:
    """Samples at each point of the hulls: their sum, seconds and joules; padding is left out."""
    import cvxpy as cp

    tables, rows = fleet.tables, fleet.tables.rows
    real = np.diff(tables.tau_s, axis=1, prepend=0.0) > 0
    owner, point = np.nonzero(real)
    share = cp.Variable(len(owner), nonneg=True)
    of_device = (np.arange(len(rows))[:, None] == owner).astype(float)
    slower = tables.tau_s[owner, point] / fleet.tau_min_s[rows[owner]]
    cost = fleet.epochs * unit.samples[rows[owner]] * tables.joules[owner, point] / unit.joules
    limits = [of_device @ share == samples[rows], (of_device * slower) @ share == seconds[rows]]
    return cost @ share, limits


def _curves(fleet: Fleet, unit: Units, samples: Expression, seconds: Expression) -> Side:
    """samples**3/u**2 and samples**4/u**3, u being the part of the time that goes with the clock, in its least."""
    import cvxpy as cp

    curves, rows = fleet.curves, fleet.curves.rows
    quick, time = fleet.tau_min_s[rows], unit.compute_s[rows] / unit.joules
    fixed = curves.fixed_s / quick  # the part of the time at the highest clock that no clock changes
    u = cp.multiply(1 / (1 - fixed), seconds[rows] - cp.multiply(fixed, samples[rows]))
    part, square = cp.Variable(len(rows)), cp.Variable(len(rows))
    limits = [
        seconds[rows] <= cp.multiply(fleet.tau_idle_s[rows] / quick, samples[rows]),
        _square(samples[rows], part, u),
        _square(part, square, samples[rows]),
    ]
    top_w = curves.kappa * curves.freq_max_hz**3
    joules = (time * curves.power_static_w) @ seconds[rows] + (time * top_w * (1 - fixed)) @ square
    slow = np.flatnonzero(fixed > 0)
    if len(slow):
        cube = cp.Variable(len(slow))
        limits.append(_square(part[slow], cube, u[slow]))
        joules = joules + (time * top_w * fixed)[slow] @ cube
    return joules, limits


def upload_part(fleet: Fleet, unit: Units) -> Part:
    """Upload seconds and use of the medium of every device, with what there is of it."""
    import cvxpy as cp

    links, count = fleet.links, len(fleet)
    seconds, use = cp.Variable(count), cp.Variable(count, nonneg=True)  # in units; in parts of the capacity
    joules = (links.overhead_w * unit.upload_s / unit.joules) @ seconds
    limits = [cp.sum(use) <= 1]
    bound, shared, banded = (np.flatnonzero(kind) for kind in (links.wired, links.shared, links.banded))
    if len(bound):
        limits += [seconds[bound] == 1, use[bound] == 0]
    if len(shared):
        share = len(shared)
        limits += [seconds[shared] >= 1 / share, cp.inv_pos(seconds[shared]) <= use[shared] * share]
        sending = links.power_w[shared] / links.efficiency[shared] * unit.upload_s[shared] / share
        joules = joules + float(sending.sum()) / unit.joules
    if len(banded):
        more = _radios(fleet, unit, seconds[banded], use[banded] * len(banded), banded)
        joules, limits = joules + more[0], limits + more[1]
    return Part(joules, limits, cp.multiply(unit.upload_s / fleet.round_s, seconds), use)


def _radios(fleet: Fleet, unit: Units, seconds: Expression, band: Expression, rows: np.ndarray) -> Side:
    """Power limits of all, radiated joules of those that choose their power; band (M,) in equal shares.

    In units x is loud/(b*s), `loud` being x at full power on an equal share; exponents are counted from there.
    """
    import cvxpy as cp

    links = fleet.links
    noise, strength = links.noise_w_per_hz[rows], _strength(fleet, unit.band_hz)[rows]
    loud = np.log1p(strength)
    xi = cp.Variable(len(rows))  # b*x/loud = 1/s
    over, whole = cp.multiply(loud, xi - band), cp.multiply(1 / (1 + strength), band + strength)
    limits = [cp.inv_pos(seconds) <= xi, cp.ExpCone(over, band, whole)]
    fixed = links.fixed_power[rows]
    drawn_w = np.where(fixed, links.power_w[rows] / links.efficiency[rows], 0.0)
    joules = (drawn_w * unit.upload_s[rows] / unit.joules) @ seconds
    free = np.flatnonzero(~fixed)
    if len(free):
        mean, root, x = (cp.Variable(len(free)) for _ in range(3))  # sqrt(b*s), one over that, 1/(b*s)
        one = np.ones(len(free))
        limits += [_square(mean, band[free], seconds[free]), _square(one, root, mean), _square(root, x, one)]
        cost = (noise * fleet.upload_bits[rows] * radio.LN2 / links.efficiency[rows])[free] / unit.joules
        at, weight = np.polynomial.legendre.leggauss(_NODES)
        for node, part in zip(0.5 * (at + 1), 0.5 * weight, strict=True):
            joules = joules + cp.sum(cp.exp(cp.multiply(node * loud[free], x) + np.log(part * cost)))
    return joules, limits


def _strength(fleet: Fleet, band_hz: float) -> np.ndarray:
    """Full radiated power over the noise of an equal share of the band, (I,)."""
    return fleet.links.power_w / (fleet.links.noise_w_per_hz * band_hz)


def _square(root: Expression, first: Expression, second: Expression) -> Expression:
    """first * second >= root**2 and first + second >= 0, all (M,): a quadratic cone for each element."""
    import cvxpy as cp

    return cp.SOC(first + second, cp.vstack([2 * root, first - second]), axis=0)
