"""One device's best answer to the prices of error and medium, for all devices at once.

Computing and uploading share the seconds of the round. Priced at nu joules a second the two sides come apart and each
is a closed form; the price is right where the time is just used up (or 0 where it is not). For *any* nu >= 0 the value
is a lower bound on the device's least cost; the best one found is kept. At a kink of a table the time jumps: the two
ends of the last bracket are then mixed so that the time fits, which is time sharing and, everything being jointly
convex, as good as exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.plan.compute_step import cheapest_seconds, compute_joules, samples_at_price
from server.plan.fleet import Fleet
from server.plan.roots import falling_root
from server.plan.upload_step import cheapest_upload, medium_use, upload_joules

_WIDTH = 1e-11  # of ln nu: what is lost goes with its square, or at a kink with its first power times seconds
_NEAR = 1e-13  # relative error of the time used that ends a search early


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
    """The devices' answers with the bound: `bound_j` (I,) is below every device's least priced cost; `price_s_w` (I,)
    is nu, joules per second of its round."""

    points: Points
    bound_j: np.ndarray
    price_s_w: np.ndarray


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
        return Step(free, free_bound, np.zeros(len(fleet)))
    low, high = _bracket(fleet, excess, hurried, warm)
    low, high = falling_root(excess, low, high, _WIDTH, _NEAR)
    cheap, cheap_bound = answer(np.where(hurried, np.exp(low), 0.0))
    quick, quick_bound = answer(np.where(hurried, np.exp(high), 0.0))
    slow_s, quick_s = cheap.compute_s + cheap.upload_s, quick.compute_s + quick.upload_s
    spare, span = fleet.round_s - quick_s, slow_s - quick_s
    mixable = hurried & (span > 0)
    weight = np.where(hurried, 0.0, 1.0)
    weight[mixable] = np.clip(spare[mixable] / span[mixable], 0.0, 1.0)
    bound = np.maximum(cheap_bound, quick_bound)
    return Step(quick.blend(cheap, weight), bound, np.where(hurried, np.exp(high), 0.0))


def _answer(
    fleet: Fleet, price_w: np.ndarray, price_error_j: float, price_medium_j: float
) -> tuple[Points, np.ndarray]:
    """The minimisers and the value of E + lambda/I*err + mu*use + nu*(t + s - T) for every device."""
    tau, priced = cheapest_seconds(fleet, price_w)
    samples = samples_at_price(fleet, priced, price_error_j)
    upload_s, band_hz, upload_j = cheapest_upload(fleet, price_w, price_medium_j)
    bound = fleet.epochs * samples * priced + upload_j - price_w * fleet.round_s
    if price_error_j > 0:
        bound = bound + price_error_j / len(fleet) * fleet.errors(samples)
    return Points(samples, fleet.epochs * samples * tau, upload_s, band_hz), bound


def _bracket(fleet, excess, hurried, warm):  # type: ignore[no-untyped-def]
    """Ends of ln nu between which the time used falls through the round; 0, 0 for devices in no hurry."""
    guess = np.log(_power_scale(fleet))
    reach = 8.0
    if warm is not None:
        known = warm.price_s_w > 0
        guess = np.where(known, np.log(np.where(known, warm.price_s_w, 1.0)), guess)
        reach = np.where(known, 0.3, 8.0)
    guess = np.where(hurried, guess, 0.0)
    reach = np.where(hurried, reach, 0.0)
    low, high = guess - reach, guess + reach
    for _ in range(60):
        raise_it, lower_it = hurried & (excess(high) > 0), hurried & (excess(low) <= 0)
        if not (raise_it.any() or lower_it.any()):
            break
        low, high = np.where(raise_it, high, low), np.where(lower_it, low, high)
        reach = np.where(raise_it | lower_it, np.minimum(4.0 * reach, 20.0), reach)
        high = np.where(raise_it, np.minimum(high + reach, 200.0), high)
        low = np.where(lower_it, np.maximum(low - reach, -200.0), low)
    return low, high


def _power_scale(fleet: Fleet) -> np.ndarray:
    """Watts (I,) at the fastest clock: the order of a second's price."""
    compute = compute_joules(fleet, np.ones(len(fleet)), fleet.epochs * fleet.tau_min_s)
    return np.maximum(compute / (fleet.epochs * fleet.tau_min_s), 1e-12)
