"""A split with room on every side: where searches start, and what candidates outside are moved towards.

Of medium and error one is bought with the other: seconds for the upload save medium, seconds for computing save error.
At an exchange rate between them every device has a best split of its own (one convex search in one variable); the rate
is chosen such that both are left over in the same proportion. If even that split cannot be kept, none can.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models import learning_curve
from server.plan.diagnosis import NoPlanError
from server.plan.feasible import most_accurate
from server.plan.fleet import Fleet
from server.plan.search.band_step import BandStep
from server.plan.search.data_step import DataStep
from server.plan.search.split import Splits

_GOLDEN = (5**0.5 - 1) / 2
_STEPS = 60


def spacious(fleet: Fleet, splits: Splits, data: DataStep, band: BandStep) -> np.ndarray:
    """Upload deadlines (I,) that leave over the same proportion of medium and of error.

    Raises `NoPlanError` where no split keeps every constraint, with the exact planner's diagnosis.
    """
    busy_s = fleet.epochs * fleet.local * fleet.tau_min_s + splits.shortest_s
    if fleet.most.all() and (busy_s <= fleet.round_s).all():
        if fleet.target_error is None:
            upload_s = splits.longest_s
        else:
            upload_s = _balanced(fleet, splits, data, band) if band.kinds else splits.shortest_s
        if max(_left(fleet, data, band, upload_s)) <= 1e-9:
            return upload_s
    most_accurate(fleet)  # says what is wrong and what would be right
    raise NoPlanError("no time split keeps every constraint by more than rounding; widen round_s a little", "round_s")


def _balanced(fleet: Fleet, splits: Splits, data: DataStep, band: BandStep) -> np.ndarray:
    curve = fleet.curve
    shortest, longest = splits.shortest_s, splits.longest_s

    def best(log_rate: float) -> np.ndarray:
        """Every device's split when a unit of relative error costs exp(log_rate) units of relative medium."""
        rate = np.exp(log_rate)

        def cost(upload_s: np.ndarray) -> np.ndarray:
            samples = data.most_samples(fleet.round_s - upload_s)
            worth = fleet.worth(np.maximum(samples, 1e-9))
            loss = -worth if fleet.pooled else learning_curve.error(worth, curve.alpha, curve.beta, 0.0)
            return band.least_use(upload_s[None, :])[0] / fleet.capacity + rate * loss

        return _least(cost, shortest, longest)

    low, high = -60.0, 60.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        use, error = _left(fleet, data, band, best(middle))
        low, high = (low, middle) if use > error else (middle, high)
    ends = [best(low), best(high)]
    return min(ends, key=lambda upload_s: max(_left(fleet, data, band, upload_s)))


def _left(fleet: Fleet, data: DataStep, band: BandStep, upload_s: np.ndarray) -> tuple[float, float]:
    """ln of (medium needed, error left at best) over what there is of them; above 0: too much."""
    use = band.log_use(band.least_use(upload_s[None, :]))
    error = data.log_error(data.most_samples(fleet.round_s - upload_s[None, :]))
    return float(use[0]), float(error[0])


def _least(cost: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The least of convex functions, one each device, by golden section."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    cost_left, cost_right = cost(left), cost(right)
    for _ in range(_STEPS):
        lower = cost_left <= cost_right
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        kept, kept_cost = np.where(lower, left, right), np.where(lower, cost_left, cost_right)
        fresh = np.where(lower, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        fresh_cost = cost(fresh)
        left, right = np.where(lower, fresh, kept), np.where(lower, kept, fresh)
        cost_left = np.where(lower, fresh_cost, kept_cost)
        cost_right = np.where(lower, kept_cost, fresh_cost)
    return 0.5 * (low + high)
