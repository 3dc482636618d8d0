"""The prices that couple devices: lambda (joules per unit of mean error) and mu (joules per hertz or share).

The dual function is concave and, err and E_com being strictly convex, smooth in both: what the devices answer at a
price (mean error, medium used) falls with that price without a jump. So each price is a root on a logarithmic axis, mu
outside, lambda inside with the last answer as its start. Every search ends on the side where the constraint holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from server.plan.compute_step import cheapest_seconds
from server.plan.device_step import Step, device_step, joules, total_use
from server.plan.fleet import Fleet
from server.plan.roots import falling_root

_NEAR_ERROR = 1e-12  # relative, of the error above the floor
_NEAR_USE = 1e-10  # relative, of the medium
_FURTHEST = 90.0  # e-folds that a price may lie from its guess


@dataclass(frozen=True)
class Dual:
    """Prices with the devices' answers at them; `bound_j` is a lower bound on the least energy of the fleet."""

    price_error_j: float
    price_medium_j: float
    step: Step
    bound_j: float


def solve_dual(fleet: Fleet, fixed_error_price_j: float | None = None) -> Dual:
    """The best prices; with `fixed_error_price_j` only mu is sought (mean error is then an objective)."""
    search = _Search(fleet, fixed_error_price_j)
    price_medium = 0.0
    if math.isfinite(fleet.capacity):
        price_medium = search.medium_price()
    price_error, step = search.at(price_medium)
    return Dual(price_error, price_medium, step, bound(fleet, price_error, price_medium, step))


def bound(fleet: Fleet, price_error_j: float, price_medium_j: float, step: Step) -> float:
    """sum of the devices' bounds - lambda*Delta - mu*B: below the least energy for any prices >= 0."""
    total = float(step.bound_j.sum())
    if price_error_j > 0 and fleet.target_error is not None:
        total -= price_error_j * fleet.target_error
    if price_medium_j > 0:
        total -= price_medium_j * fleet.capacity
    return total


class _Search:
    """The two nested root searches; remembers the last answers as the next start."""

    def __init__(self, fleet: Fleet, fixed_error_price_j: float | None):
        self.fleet = fleet
        self.fixed = fixed_error_price_j
        if fleet.target_error is None:
            self.fixed = 0.0
        self.warm: Step | None = None
        self.log_error_price: float | None = None

    def medium_price(self) -> float:
        """mu with the medium used up, or one so small that leaving some of it costs nothing."""
        fleet = self.fleet

        @cache
        def excess(log_price: float) -> float:
            _, step = self.at(math.exp(log_price))
            return math.log(total_use(fleet, step.points) / fleet.capacity)

        return math.exp(_price_root(excess, math.log(self._medium_scale()), math.log(8.0), _NEAR_USE))

    def at(self, price_medium_j: float) -> tuple[float, Step]:
        """lambda and the answers at a given mu."""
        if self.fixed is not None:
            return self.fixed, self._step(self.fixed, price_medium_j)
        fleet = self.fleet
        assert fleet.target_error is not None
        if fleet.local.all() and fleet.mean_error(fleet.local) <= fleet.target_error:
            return 0.0, self._step(0.0, price_medium_j)
        reachable = fleet.target_error - fleet.curve.gamma
        steps: dict[float, Step] = {}

        @cache
        def excess(log_price: float) -> float:
            steps[log_price] = self._step(math.exp(log_price), price_medium_j)
            above = fleet.mean_error(steps[log_price].points.samples) - fleet.curve.gamma
            return math.log(above / reachable)

        guess, reach = self.log_error_price, 0.1
        if guess is None:
            guess, reach = math.log(self._error_scale()), math.log(4.0)
        best = _price_root(excess, guess, reach, _NEAR_ERROR)
        self.log_error_price = best
        return math.exp(best), steps[best]

    def _step(self, price_error_j: float, price_medium_j: float) -> Step:
        self.warm = device_step(self.fleet, price_error_j, price_medium_j, self.warm)
        return self.warm

    def _error_scale(self) -> float:
        """The lambda at which a middling device trains half of what it could."""
        fleet, curve = self.fleet, self.fleet.curve
        _, per_sample = cheapest_seconds(fleet, np.zeros(len(fleet)))
        worth = fleet.local + 0.5 * fleet.eta * (fleet.most - fleet.local)
        scale = per_sample * np.maximum(worth, 1.0) ** (1.0 + curve.beta)
        return float(np.median(scale)) * len(fleet) * fleet.epochs / (curve.alpha * curve.beta * fleet.eta)

    def _medium_scale(self) -> float:
        """The joules of a fleet that pays little for its medium, over what there is of it."""
        fleet = self.fleet
        if self.fixed is not None and self.fixed > 0:
            return self.fixed / fleet.capacity
        points = device_step(fleet, 0.0, 0.0).points
        return max(float(joules(fleet, points).sum()), 1e-12) / fleet.capacity


def _price_root(excess: Callable[[float], float], guess: float, reach: float, near: float) -> float:
    """The log of a price at which `excess` (falling) is in [-near, 0]; the lowest tried where it never rises above 0,
    the highest where it never falls to it (the caller's problem is then at the very edge of what can be done)."""
    low = high = guess
    if excess(guess) > 0:
        while excess(high) > 0:
            if high - guess > _FURTHEST:
                return high
            low, high, reach = high, high + reach, 2.0 * reach
    else:
        while excess(low) <= 0:
            if excess(low) >= -near or guess - low > _FURTHEST:
                return low
            high, low, reach = low, low - reach, 2.0 * reach

    def values(log_prices: np.ndarray) -> np.ndarray:
        return np.array([excess(float(log_price)) for log_price in log_prices])

    _, best = falling_root(values, np.array([low]), np.array([high]), 1e-14, near)
    return float(best[0])
