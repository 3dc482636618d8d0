"""The whole of P1 for a conic solver: cvxpy poses it, Clarabel solves it. An independent check, for small fleets.

Nothing is searched and no price is sought here; nothing is shared with the exact solver but the formulae in `models`.
Each of the searchers' two sub-problems can be posed alone, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from models import radio
from server.errors import ConfigError, MissingExtraError
from server.plan.device_step import Points
from server.plan.feasible import most_accurate
from server.plan.fleet import Fleet
from server.plan.search.conic_parts import Expression, Part, Units, compute_part, units, upload_part
from server.plan.search.levels import refuse_levels

MOST_DEVICES = 50
_WANTED, _ENOUGH = 1e-9, 1e-7  # tolerances: the second where no better point is found
_JOULES = (1.0, 0.1, 10.0)  # factors on the unit of joules: where one fails, another mostly does not

Pose = Callable[[Units], tuple[list[Part], list[Expression]]]


def solve_cvxpy(fleet: Fleet) -> Points:
    """The points of least joules, made to keep every constraint to rounding.

    Raises `ConfigError` above 50 devices, for discrete transmit levels and where the solver finds no answer though
    there is one, `NoPlanError` with the exact planner's diagnosis where there is none, `MissingExtraError` where cvxpy
    or Clarabel is not installed.
    """
    refuse_levels(fleet)
    refuse_for_cvxpy(len(fleet))
    most_accurate(fleet)  # where there is no plan: says what is wrong and what would be right

    def pose(unit: Units) -> tuple[list[Part], list[Expression]]:
        compute, upload = compute_part(fleet, unit), upload_part(fleet, unit)
        return [compute, upload], [compute.seconds + upload.seconds <= 1]

    unit, (compute, upload) = _solve(fleet, pose)
    use = upload.amount.value * fleet.capacity if np.isfinite(fleet.capacity) else np.zeros(len(fleet))
    compute_s, upload_s = compute.seconds.value * fleet.round_s, upload.seconds.value * fleet.round_s
    return _tidy(fleet, compute.amount.value * unit.samples, compute_s, upload_s, use)


def refuse_for_cvxpy(count: int) -> None:
    """Raises `ConfigError` for too many devices, `MissingExtraError` where what solves is not installed."""
    if count > MOST_DEVICES:
        raise ConfigError(f"method: {count} devices are too many for cvxpy, a check for up to {MOST_DEVICES}")
    for package in ("cvxpy", "clarabel"):
        if find_spec(package) is None:
            raise MissingExtraError(
                f"method 'cvxpy' needs the package {package!r}; install it with: pip install 'fimi[server]'"
            )


def least_compute_j(fleet: Fleet, compute_s: np.ndarray) -> float:
    """The data sub-problem's joules at compute_s (I,), by the conic solver."""

    def pose(unit: Units) -> tuple[list[Part], list[Expression]]:
        part = compute_part(fleet, unit)
        return [part], [part.seconds <= compute_s / fleet.round_s]

    unit, (part,) = _solve(fleet, pose)
    return float(part.joules.value) * unit.joules


def least_upload_j(fleet: Fleet, upload_s: np.ndarray) -> float:
    """The bandwidth sub-problem's joules at upload_s (I,), by the conic solver."""

    def pose(unit: Units) -> tuple[list[Part], list[Expression]]:
        part = upload_part(fleet, unit)
        return [part], [part.seconds <= upload_s / fleet.round_s]

    unit, (part,) = _solve(fleet, pose)
    return float(part.joules.value) * unit.joules


def _solve(fleet: Fleet, pose: Pose) -> tuple[Units, list[Part]]:
    """The parts with values, and their units."""
    import cvxpy as cp

    tolerances = {f"tol_{what}": _WANTED for what in ("gap_abs", "gap_rel", "feas")}
    tolerances |= {f"reduced_{name}": _ENOUGH for name in tolerances}
    status, unit = "it failed", units(fleet)
    for factor in _JOULES:
        scaled = replace(unit, joules=unit.joules * factor)
        parts, limits = pose(scaled)
        problem = cp.Problem(cp.Minimize(sum(part.joules for part in parts)), sum((p.limits for p in parts), limits))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cvxpy warns of what `status` says
            try:
                problem.solve(solver=cp.CLARABEL, **tolerances)
            except cp.SolverError:
                continue
        status = problem.status
        if status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):  # the latter: within `_ENOUGH`
            return scaled, parts
    raise ConfigError(f"method: cvxpy's solver found no answer ({status}) though there is one; take 'exact'")


def _tidy(fleet: Fleet, samples: np.ndarray, compute_s: np.ndarray, upload_s: np.ndarray, use: np.ndarray) -> Points:
    """What the solver's tolerance left open, closed: the medium, power, time, and last the target."""
    links = fleet.links
    shared, banded = links.shared, links.banded
    use = np.where(banded, use / max(float(use.sum()) / fleet.capacity, 1.0), 0.0)
    taken = radio.link_share(fleet.upload_bits[shared], upload_s[shared], links.rate_bits_per_s[shared])
    upload_s[shared] *= max(float(taken.sum()), 1.0)
    law = (links.power_w[banded], links.noise_w_per_hz[banded])
    least_s = radio.seconds_at_power(fleet.upload_bits[banded], use[banded], *law)
    upload_s[banded] = np.where(links.fixed_power[banded], least_s, np.maximum(upload_s[banded], least_s))
    left_s = fleet.round_s - upload_s
    top = np.maximum(np.minimum(fleet.most, left_s / (fleet.epochs * fleet.tau_min_s)), fleet.local)
    samples = _accurate(fleet, np.clip(samples, fleet.local, top), top)
    trained = fleet.epochs * samples
    compute_s = np.clip(np.minimum(compute_s, left_s), trained * fleet.tau_min_s, trained * fleet.tau_idle_s)
    return Points(samples, compute_s, upload_s, use)


def _accurate(fleet: Fleet, samples: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Samples (I,) moved towards `top` (I,) until the mean error is within the target, by halving."""
    target = fleet.target_error
    if target is None or fleet.mean_error(samples) <= target:
        return samples
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        kept = fleet.mean_error(samples + middle * (top - samples)) <= target
        low, high = (low, middle) if kept else (middle, high)
    return samples + high * (top - samples)
