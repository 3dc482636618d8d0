"""The prices that couple devices: lambda (joules per unit of mean error) and mu (joules per hertz or share).

The dual function is concave and, err and E_com being strictly convex, smooth in both: what the devices answer at a
price (mean error, medium used) falls with that price without a jump. Both prices together are found by a quasi-Newton
search on logarithmic axes, where the answers are nearly power laws; where it fails, and where only one price is sought,
by bracketing: mu outside, lambda inside. Every search ends on the side where the constraints hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from server.plan.compute_step import cheapest_seconds
from server.plan.device_step import Step, device_step, joules, total_use
from server.plan.fleet import Fleet
from server.plan.roots import falling_root

_NEAR = 1e-10  # relative, of the error above the floor and of the medium: what a search may leave unused
_NEWTON_STEPS = 25
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
    step = None
    if math.isfinite(fleet.capacity):
        step = search.both_prices() or search.at(search.medium_price())
    else:
        step = search.at(0.0)
    return Dual(step.price_error_j, step.price_medium_j, step, bound(fleet, step))


def bound(fleet: Fleet, step: Step) -> float:
    """sum of the devices' bounds - lambda*(allowed loss) - mu*B: below the least energy for any prices >= 0."""
    total = float(step.bound_j.sum())
    if step.price_error_j > 0 and fleet.target_error is not None:
        total -= step.price_error_j * fleet.allowed_loss
    if step.price_medium_j > 0:
        total -= step.price_medium_j * fleet.capacity
    return total


class _Search:
    """The root searches; remembers the last answers as the next start."""

    def __init__(self, fleet: Fleet, fixed_error_price_j: float | None):
        self.fleet = fleet
        self.fixed = fixed_error_price_j
        if fleet.target_error is None:
            self.fixed = 0.0
        self.warm: Step | None = None
        self.log_error_price: float | None = None

    def medium_price(self) -> float:
        """mu with the medium used up, or one so small that leaving some of it costs nothing."""

        @cache
        def excess(log_price: float) -> float:
            return self._use_excess(self.at(math.exp(log_price)))

        return math.exp(_price_root(excess, math.log(self._medium_scale()), math.log(8.0), _NEAR)[1])

    def both_prices(self) -> Step | None:
        """Both constraints met by Broyden's method in (ln lambda, ln mu); None where it does not get there."""
        if self.fixed is not None or self.fleet.pooled or self._accurate_anyway():
            return None  # a pooled target makes the answers jump with lambda
        at = np.log([self._error_scale(), self._medium_scale()])
        step, excess = self._excess(at)
        slope = self._slopes(at, excess)
        for _ in range(_NEWTON_STEPS):
            if np.all((excess <= 0) & (excess >= -_NEAR)):
                return step
            try:
                move = np.linalg.solve(slope, -0.5 * _NEAR - excess)
            except np.linalg.LinAlgError:
                return None
            move *= min(1.0, 2.0 / max(float(np.abs(move).max()), 1e-300))
            step, after = self._excess(at + move)
            if not np.all(np.isfinite(after)):
                return None
            slow = np.abs(after).max() > 0.3 * np.abs(excess).max()
            at = at + move
            if slow and np.abs(after).max() > 1e-6:
                slope = self._slopes(at, after)
            else:
                slope = slope + np.outer(after - excess - slope @ move, move) / float(move @ move)
            excess = after
        return None

    def _excess(self, log_prices: np.ndarray) -> tuple[Step, np.ndarray]:
        """The answers and ln of (error above the floor, medium used) over what is allowed."""
        step = self._step(math.exp(log_prices[0]), math.exp(log_prices[1]))
        return step, np.array([self._error_excess(step), self._use_excess(step)])

    def _slopes(self, at: np.ndarray, excess: np.ndarray) -> np.ndarray:
        """The 2x2 derivative of `_excess`, by differences."""
        columns = [(self._excess(at + 1e-3 * unit)[1] - excess) / 1e-3 for unit in np.eye(2)]
        return np.stack(columns, axis=1)

    def _error_excess(self, step: Step) -> float:
        fleet = self.fleet
        assert fleet.target_error is not None
        above = fleet.mean_error(step.points.samples) - fleet.curve.gamma
        return math.log(above / (fleet.target_error - fleet.curve.gamma))

    def _use_excess(self, step: Step) -> float:
        return math.log(total_use(self.fleet, step.points) / self.fleet.capacity)

    def _accurate_anyway(self) -> bool:
        """Whether the local samples alone keep the target: lambda is then 0."""
        fleet = self.fleet
        assert fleet.target_error is not None
        return bool(fleet.local.all()) and fleet.mean_error(fleet.local) <= fleet.target_error

    def at(self, price_medium_j: float) -> Step:
        """The answers at a given mu and the lambda that goes with it."""
        if self.fixed is not None:
            return self._step(self.fixed, price_medium_j)
        if self._accurate_anyway():
            return self._step(0.0, price_medium_j)
        steps: dict[float, Step] = {}

        @cache
        def excess(log_price: float) -> float:
            steps[log_price] = self._step(math.exp(log_price), price_medium_j)
            return self._error_excess(steps[log_price])

        guess, reach = self.log_error_price, 0.1
        if guess is None:
            guess, reach = math.log(self._error_scale()), math.log(4.0)
        short, self.log_error_price = _price_root(excess, guess, reach, 0.01 * _NEAR)
        return self._across(steps[short], steps[self.log_error_price])

    def _across(self, short: Step, enough: Step) -> Step:
        """The answers between two sides of a jump, such that the target is just kept; both cost the same there."""
        fleet = self.fleet
        if not fleet.pooled or short is enough:
            return enough
        has, gets = (float(fleet.worth(step.points.samples).mean()) for step in (short, enough))
        if not has < fleet.wanted_worth < gets:
            return enough
        weight = (fleet.wanted_worth - has) / (gets - has)
        return replace(enough, points=short.points.blend(enough.points, weight))

    def _step(self, price_error_j: float, price_medium_j: float) -> Step:
        self.warm = device_step(self.fleet, price_error_j, price_medium_j, self.warm)
        return self.warm

    def _error_scale(self) -> float:
        """The lambda at which a middling device trains half of what it could."""
        fleet, curve = self.fleet, self.fleet.curve
        _, per_sample = cheapest_seconds(fleet, np.zeros(len(fleet)))
        if fleet.pooled:
            return float(np.median(per_sample)) * len(fleet) * fleet.epochs / (fleet.worth_slope * fleet.eta)
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


def _price_root(excess: Callable[[float], float], guess: float, reach: float, near: float) -> tuple[float, float]:
    """Logs of two prices, the same or next to each other: `excess` (falling) is above 0 at the first and in [-near, 0]
    at the second, or jumps between them. Twice the lowest tried where it never rises above 0, the highest where it
    never falls to it (the caller's problem is then at the very edge of what can be done)."""
    low = high = guess
    if excess(guess) > 0:
        while excess(high) > 0:
            if high - guess > _FURTHEST:
                return high, high
            low, high, reach = high, high + reach, 2.0 * reach
    else:
        while excess(low) <= 0:
            if excess(low) >= -near or guess - low > _FURTHEST:
                return low, low
            high, low, reach = low, low - reach, 2.0 * reach

    def values(log_prices: np.ndarray) -> np.ndarray:
        return np.array([excess(float(log_price)) for log_price in log_prices])

    short, enough = falling_root(values, np.array([low]), np.array([high]), 1e-14, near)
    return float(short[0]), float(enough[0])
