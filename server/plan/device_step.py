"""One device's best answer to the prices of error and medium, for all devices at once.

Computing and uploading share the seconds of the round. Priced at nu joules a second the two sides come apart and each
is a closed form; the price is right where the time is just used up (or 0 where it is not). For *any* nu >= 0 the value
is a lower bound on the device's least cost; the best one found is kept. At a kink of a table the time jumps: the two
ends of the last bracket are then mixed so that the time fits, which is time sharing and, everything being jointly
convex, as good as exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.plan.compute_step import cheapest_seconds, compute_joules, samples_at_price
from server.plan.fleet import Fleet
from server.plan.roots import falling_root
from server.plan.upload_step import cheapest_upload, medium_use, upload_joules

_WIDTH = 2e-11  # of ln nu: what is lost goes with its square, or at a kink with its first power times seconds
_NEAR = 1e-13  # relative error of the time used that ends a search early
_LIMIT = 200.0  # of |ln nu|


@dataclass(frozen=True)
class Points:
    """What every device does, arrays (I,): distinct samples, busy seconds, upload seconds, hertz (0: none granted)."""

    samples: np.ndarray
    compute_s: np.ndarray
    upload_s: np.ndarray
    bandwidth_hz: np.ndarray

    def blend(self, other: Points, weight: np.ndarray | float) -> Points:
        """(1 - weight) * self + weight * other: keeps every convex constraint that both keep."""
        return Points(
            _between(self.samples, other.samples, weight),
            _between(self.compute_s, other.compute_s, weight),
            _between(self.upload_s, other.upload_s, weight),
            _between(self.bandwidth_hz, other.bandwidth_hz, weight),
        )


def _between(a: np.ndarray, b: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    return np.where(weight == 0.0, a, np.where(weight == 1.0, b, a + weight * (b - a)))


@dataclass(frozen=True)
class Step:
    """The devices' answers (I,) to prices: `bound_j` is below every device's least priced cost, `price_s_w` is nu, the
    price of a second of its round, `jumps` whether the time used jumps there (the answer is then a mixture)."""

    price_error_j: float
    price_medium_j: float
    points: Points
    bound_j: np.ndarray
    price_s_w: np.ndarray
    jumps: np.ndarray


def joules(fleet: Fleet, points: Points) -> np.ndarray:
    """E_cmp + E_com (I,) of given points."""
    compute = compute_joules(fleet, points.samples, points.compute_s)
    return compute + upload_joules(fleet, points.upload_s, points.bandwidth_hz)


def total_use(fleet: Fleet, points: Points) -> float:
    """What all devices together take of the medium."""
    return float(medium_use(fleet, points.upload_s, points.bandwidth_hz).sum())


def device_step(fleet: Fleet, price_error_j: float, price_medium_j: float, warm: Step | None = None) -> Step:
    """The answers at lambda = price_error_j >= 0 and mu = price_medium_j >= 0; `warm` from prices nearby is quicker.

    Every device alone must be able to end within the round (see `feasible`).
    """

    def answer(price_w: np.ndarray) -> tuple[Points, np.ndarray]:
        return _answer(fleet, price_w, price_error_j, price_medium_j)

    def excess(log_price: np.ndarray) -> np.ndarray:
        points, _ = answer(np.where(hurried, np.exp(log_price), 0.0))
        return np.log((points.compute_s + points.upload_s) / fleet.round_s)

    free, free_bound = answer(np.zeros(len(fleet)))
    hurried = free.compute_s + free.upload_s > fleet.round_s
    if not hurried.any():
        return Step(price_error_j, price_medium_j, free, free_bound, np.zeros(len(fleet)), ~hurried)
    guess, reach = _guess(fleet, price_error_j, price_medium_j, warm)
    low, high = _bracket(excess, hurried, np.where(hurried, guess, 0.0), np.where(hurried, reach, 0.0))
    low, high = _between_kinks(fleet, excess, low, high)
    low, high = falling_root(excess, low, high, _WIDTH, _NEAR)
    cheap, cheap_bound = answer(np.where(hurried, np.exp(low), 0.0))
    quick, quick_bound = answer(np.where(hurried, np.exp(high), 0.0))
    slow_s, quick_s = cheap.compute_s + cheap.upload_s, quick.compute_s + quick.upload_s
    spare, span = fleet.round_s - quick_s, slow_s - quick_s
    mixable = hurried & (span > 0)
    weight = np.where(hurried, 0.0, 1.0)
    weight[mixable] = np.clip(spare[mixable] / span[mixable], 0.0, 1.0)
    return Step(
        price_error_j,
        price_medium_j,
        quick.blend(cheap, weight),
        np.maximum(cheap_bound, quick_bound),
        np.where(hurried, np.exp(high), 0.0),
        hurried & (span > 1e-6 * fleet.round_s) & (high - low <= 2.0 * _WIDTH),
    )


def _answer(
    fleet: Fleet, price_w: np.ndarray, price_error_j: float, price_medium_j: float
) -> tuple[Points, np.ndarray]:
    """The minimisers and the value of E + lambda/I*loss + mu*use + nu*(t + s - T) for every device."""
    tau, priced = cheapest_seconds(fleet, price_w)
    samples = samples_at_price(fleet, priced, price_error_j)
    upload_s, band_hz, upload_j = cheapest_upload(fleet, price_w, price_medium_j)
    bound = fleet.epochs * samples * priced + upload_j - price_w * fleet.round_s
    if price_error_j > 0:
        bound = bound + price_error_j / len(fleet) * fleet.losses(samples)
    return Points(samples, fleet.epochs * samples * tau, upload_s, band_hz), bound


Excess = Callable[[np.ndarray], np.ndarray]


def _guess(
    fleet: Fleet, price_error_j: float, price_medium_j: float, warm: Step | None
) -> tuple[np.ndarray, np.ndarray]:
    """ln nu (I,) to start from, and how far (I,) around it to look first."""
    compute = compute_joules(fleet, np.ones(len(fleet)), fleet.epochs * fleet.tau_min_s)
    power_w = np.maximum(compute / (fleet.epochs * fleet.tau_min_s), 1e-12)  # the order of a second's price
    if warm is None:
        return np.log(power_w), np.full(len(fleet), 8.0)
    known = warm.price_s_w > 0
    moved = _distance(price_error_j, warm.price_error_j) + _distance(price_medium_j, warm.price_medium_j)
    near = np.where(warm.jumps, _WIDTH, max(moved, 1e-9))  # at a kink nu stays where it is
    guess = np.log(np.where(known, warm.price_s_w, power_w))
    return guess, np.where(known, near, 8.0)


def _distance(price: float, other: float) -> float:
    """How far two prices lie apart in e-folds, at most 1."""
    if price <= 0 or other <= 0:
        return 0.0 if price == other else 1.0
    return min(abs(math.log(price / other)), 1.0)


def _bracket(
    excess: Excess, hurried: np.ndarray, guess: np.ndarray, reach: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of ln nu (I,) between which the time used falls through the round; both 0 for devices in no hurry."""
    low, high = guess - reach, guess + reach
    for _ in range(60):
        too_low, too_high = hurried & (excess(high) > 0), hurried & (excess(low) <= 0)
        if not (too_low.any() or too_high.any()):
            break
        low, high = np.where(too_low, high, low), np.where(too_high, low, high)
        reach = np.where(too_low | too_high, np.minimum(np.maximum(4.0 * reach, 1e-3), 20.0), reach)
        high = np.where(too_low, np.minimum(high + reach, _LIMIT), high)
        low = np.where(too_high, np.maximum(low - reach, -_LIMIT), low)
    return low, high


def _between_kinks(fleet: Fleet, excess: Excess, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brackets (I,) without a kink inside, or just around the kink that the root sits on: bisection over kinks."""
    rows = fleet.tables.rows
    if len(rows) == 0:
        return low, high
    with np.errstate(divide="ignore"):
        kinks = np.log(fleet.tables.kinks_w())
    low, high = low.copy(), high.copy()
    side = 0.5 * _WIDTH
    for _ in range(kinks.shape[1] + 1):
        inside = (kinks - side > low[rows, None]) & (kinks + side < high[rows, None])
        count = inside.sum(axis=1)
        if not count.any():
            break
        middle = (np.cumsum(inside, axis=1) > (count[:, None] // 2)) & inside
        kink = kinks[np.arange(len(rows)), middle.argmax(axis=1)]
        found = count > 0
        below, above = low.copy(), high.copy()
        below[rows[found]], above[rows[found]] = kink[found] - side, kink[found] + side
        late_below, late_above = excess(below) > 0, excess(above) > 0
        touched = np.zeros(len(fleet), dtype=bool)
        touched[rows[found]] = True
        low = np.where(touched & late_above, above, np.where(touched & late_below, below, low))
        high = np.where(touched & ~late_below, below, np.where(touched & ~late_above, above, high))
    return low, high
