"""The search for the best prices: lambda (joules per unit of mean error) and mu (joules per hertz or share).

The dual function is concave. For the mean of the devices' errors it is smooth too, err and E_com being strictly convex:
what the devices answer at a price falls with it without a jump. Then Newton's method finds the prices, on logarithmic
axes, where the answers are nearly power laws, with the slopes that the devices themselves give; a large fleet asks a
few thousand of its devices first. A pooled target makes the answers jump: cutting planes (bundle.py). Where both fail
the prices are bracketed, mu outside, lambda inside. Every search ends on the side where the constraints hold.
"""

from __future__ import annotations

import math

import numpy as np

from server.plan.bundle import Cut, Hunt
from server.plan.crowd import Crowd, Totals
from server.plan.fleet import Fleet
from server.plan.points import Step
from server.plan.roots import falling_root
from server.plan.scales import error_scale, least_joules, medium_scale
from server.plan.secant import Course
from server.plan.subset import subset
from server.plan.upload_step import medium_use

ROUNDING = 1e-14  # relative, of what is summed
_NEAR = 1e-11  # relative, of the error above the floor and of the medium: what a search may leave unused
_WARM_NEAR = 2e-8  # the same for a large fleet that is planned again: quicker, with a gap to match
_LARGE = 20_000  # devices
_FINE = 1e-9  # of the time used by a device, where a price is bracketed
_NEWTON_STEPS = 30
_STRIDE = 2.0  # e-folds that one step may go
_STIFFNESS = 1e-6  # added to the slopes
_NOTHING = 1e-12  # relative, of the joules: a medium that costs no more than that in all is free
_FURTHEST = 90.0  # e-folds that a price may lie from its guess
_SAMPLE = 3_000  # devices that are asked first
_ENOUGH = 1e-10  # relative gap that ends a search among jumps
_ENOUGH_OF_MANY = 1e-8  # the same for a large fleet
_NEAR_OF_MANY = 1e-5  # of the time used by a device of a large fleet: the rest is followed by slopes
_MOST_CUTS = 150
_SPARE = 3e-11  # relative, of a constraint: what rounding may take


class PriceSearch:
    """The search for lambda and mu, each either sought or known; prices are written as [ln lambda, ln mu]."""

    def __init__(self, fleet: Fleet, fixed_error_price_j: float | None, price_s_w: np.ndarray | None):
        self.fleet = fleet
        self.crowd = Crowd(fleet, price_s_w)
        self.pooled = fleet.pooled and fleet.target_error is not None
        if fixed_error_price_j is None and (fleet.target_error is None or _accurate_anyway(fleet)):
            fixed_error_price_j = 0.0
        self.fixed_error_j = fixed_error_price_j
        nothing = 1e5 * _NOTHING if fixed_error_price_j else _NOTHING  # an error is asked for less finely
        free_j = nothing * least_joules(fleet, fixed_error_price_j) / fleet.capacity
        self.least = np.log(np.maximum([0.0, free_j], 1e-300))
        takers = int(np.count_nonzero(fleet.links.banded | fleet.links.shared))
        self.sought = np.array([fixed_error_price_j is None, takers > 1])  # a lone one has all of the medium
        self.steep: np.ndarray | None = None  # slopes of the excess, as far as they are known from elsewhere
        self.jumps = self.pooled and bool(self.sought.any())
        self.near = _NEAR if price_s_w is None or len(fleet) < _LARGE else _WARM_NEAR

    def filled(self, price_error_j: float, price_medium_j: float) -> np.ndarray:
        """Prices to start from: those given where they are of any use."""
        at = np.array([self.fixed_error_j or 0.0, 0.0])
        given = np.array([price_error_j, price_medium_j])
        at[self.sought] = given[self.sought]
        with np.errstate(divide="ignore"):
            at = np.log(at)
        missing = self.sought & ~np.isfinite(at)
        return np.where(missing, self._scales(), at) if missing.any() else at

    def guess(self) -> np.ndarray:
        """Prices to start from when none are known: those of a sample of the devices, or their order of magnitude."""
        fleet, fixed = self.fleet, self.fixed_error_j
        if len(fleet) > 2 * _SAMPLE and self.sought.any():
            count = max(_SAMPLE, len(fleet) // 20) if self.jumps else _SAMPLE
            share = count / len(fleet)
            rows = np.sort(np.random.default_rng(0).choice(len(fleet), count, replace=False))
            few = PriceSearch(
                subset(fleet, rows, fleet.capacity * share), None if fixed is None else fixed * share, None
            )
            step = few.blended(few.guess()) if few.jumps else few.newton(few.guess())
            self.steep = few.steep
            scarce = step is not None and not (self.sought[1] and math.log(step.price_medium_j) <= few.least[1])
            if step is not None and scarce:  # or a few devices make the medium scarce: a sample may lack them
                return self.filled(step.price_error_j / share, step.price_medium_j)
        return self._scales()

    def _scales(self) -> np.ndarray:
        fleet, fixed = self.fleet, self.fixed_error_j
        at = self.filled(1.0, 1.0)
        if self.sought[0]:
            at[0] = math.log(error_scale(fleet))
        if self.sought[1]:
            # without joules to pay for, an error of `fixed` is what the medium is worth
            at[1] = math.log(fixed / fleet.capacity if fixed else medium_scale(fleet))
        return at

    def blended(self, at: np.ndarray) -> Step | None:
        """The answers at the highest of all prices asked, with points blended from those around it so that all
        constraints are met; None where that is not to be had.

        Newton's method as long as it gets nearer, else where the cuts so far meet highest.
        """
        large = len(self.fleet) >= _LARGE
        hunt = Hunt(
            np.exp(self.least[self.sought]), 0.5 * self._spare()[self.sought], _ENOUGH_OF_MANY if large else _ENOUGH
        )
        course = Course(self.steep, 1.5 * _SPARE)
        furthest = at[self.sought] + _FURTHEST
        for _ in range(_MOST_CUTS):
            prices = np.exp(at)
            totals = self.crowd.at(float(prices[0]), float(prices[1]), _NEAR_OF_MANY if large else _FINE)
            excess, slope = self._excess(totals)
            if not np.isfinite(excess).all() or not (at[self.sought] <= furthest).all():
                return None
            hunt.add(self._cut(self.crowd.answers()))
            if not self.sought.any():
                return hunt.best.step
            top = hunt.top()
            if hunt.done(top):
                return hunt.blend(top)
            course.add(at[self.sought], excess, slope)
            self.steep, there = course.steep, course.next()
            at = at.copy()
            at[self.sought] = np.log(top.prices) if there is None else np.maximum(there, self.least[self.sought])
        return None

    def _cut(self, step: Step) -> Cut:
        """The plane that answers make over the prices that are sought."""
        fleet, points = self.fleet, step.points
        prices = np.array([step.price_error_j, step.price_medium_j])
        lack = self._spare()
        if fleet.target_error is not None and self.sought[0]:
            lack[0] += float(fleet.losses(points.samples).mean()) - fleet.allowed_loss
        if self.sought[1]:
            lack[1] += float(medium_use(fleet, points.upload_s, points.bandwidth_hz).sum()) - fleet.capacity
        value_j = float(step.bound_j.sum())
        if self.sought[0]:
            value_j -= prices[0] * fleet.allowed_loss
        if self.sought[1]:
            value_j -= prices[1] * fleet.capacity
        return Cut(prices[self.sought], value_j, lack[self.sought], step)

    def _spare(self) -> np.ndarray:
        """What the constraints leave to rounding (2,)."""
        fleet = self.fleet
        return _SPARE * np.array([abs(fleet.allowed_loss) if fleet.target_error is not None else 1.0, fleet.capacity])

    def newton(self, at: np.ndarray) -> Step | None:
        """All constraints met by Newton's method from prices nearby; None where it does not get there.

        The last step is not asked for: where it is short enough the points follow their slopes.
        """
        low, high = np.full(2, -np.inf)[self.sought], np.full(2, np.inf)[self.sought]
        close = math.sqrt(0.1 * self.near)  # what the slopes leave open goes with the square
        near = 1e-2 if self.sought.any() else _FINE
        for _ in range(_NEWTON_STEPS):
            with np.errstate(over="ignore"):
                prices = np.exp(at)
            excess, slope = self._excess(self.crowd.at(float(prices[0]), float(prices[1]), near))
            if not (np.isfinite(excess).all() and np.isfinite(slope).all()):
                return None
            here = at[self.sought]
            free = (here <= self.least[self.sought]) & (excess <= 0)
            steep = slope - _STIFFNESS * np.eye(len(excess))  # across flat stretches, too
            move = np.where(free, 0.0, np.linalg.solve(steep, -0.5 * self.near - excess))
            far = float(np.abs(np.where(free, 0.0, excess)).max(initial=0.0))
            if far <= close and near <= close and float(np.abs(move).max(initial=0.0)) <= 0.1:
                both = np.zeros(2)
                both[self.sought] = move
                return self.crowd.answers((float(both[0]), float(both[1])))
            low, high = np.where(excess > 0, here, low), np.where(excess > 0, high, here)
            there = here + np.clip(move, -_STRIDE, _STRIDE)
            lost = (np.abs(move) > _STRIDE) & (low < high) & (high - low < np.inf)
            at = at.copy()
            at[self.sought] = np.maximum(np.where(lost, 0.5 * (low + high), there), self.least[self.sought])
            near = max(min(near, 0.1 * far * far), close)
        return None

    def bracketed(self, at: np.ndarray) -> Step:
        """The prices by bracketing, mu outside and lambda inside; they end at their edges where nothing suffices."""
        if self.sought[1]:
            ends = self.least[1], at[1] + _FURTHEST
            at[1] = falling_root(lambda log_medium: self._error_priced(at, log_medium), at[1], _NEAR, *ends)
        self._error_priced(at, at[1])
        self.crowd.at(float(np.exp(at[0])), float(np.exp(at[1])), 1e-12)
        return self.crowd.answers()

    def _error_priced(self, at: np.ndarray, log_medium: float) -> tuple[float, float]:
        """The excess of the medium and its slope in ln mu, with the lambda that goes with a mu, written into `at`."""
        at[1] = log_medium

        def asked(log_error: float) -> tuple[np.ndarray, np.ndarray]:
            return self._excess(self.crowd.at(math.exp(log_error), math.exp(log_medium), _FINE))

        def error(log_error: float) -> tuple[float, float]:
            excess, slope = asked(log_error)
            return float(excess[0]), float(slope[0, 0])

        if self.sought[0]:
            at[0] = falling_root(error, at[0], 0.01 * _NEAR, at[0] - _FURTHEST, at[0] + _FURTHEST)
        if not self.sought[1]:
            return 0.0, 0.0
        excess, slope = asked(at[0])
        along = slope[-1, -1]
        if self.sought[0] and slope[0, 0] < 0:
            along -= slope[1, 0] * slope[0, 1] / slope[0, 0]
        return float(excess[-1]), float(along)

    def _excess(self, totals: Totals) -> tuple[np.ndarray, np.ndarray]:
        """ln of (error above the floor, medium used) over what is allowed, where sought, and its slopes."""
        fleet = self.fleet
        floor = fleet.curve.gamma * len(fleet)
        above = totals.error - floor
        allowed = (fleet.target_error or 0.0) * len(fleet) - floor
        sign = np.array([1.0, 1.0])
        if self.pooled:  # what is held against the target are samples: too few of them
            above, allowed, sign[0] = totals.error, fleet.wanted_worth * len(fleet), -1.0
        with np.errstate(all="ignore"):
            sums = np.array([above, totals.use])
            excess = sign * np.log(sums / np.array([allowed, fleet.capacity]))
            excess = np.where(np.abs(excess) < ROUNDING, 0.0, excess)
            slopes = [[totals.error_by_error, totals.error_by_medium], [totals.use_by_error, totals.use_by_medium]]
            slope = np.array(slopes) * (sign / sums)[:, None]
        return excess[self.sought], slope[np.ix_(self.sought, self.sought)]


def _accurate_anyway(fleet: Fleet) -> bool:
    """Whether the local samples alone keep the target: lambda is then 0."""
    assert fleet.target_error is not None
    return bool(fleet.local.any()) and fleet.mean_error(fleet.local) <= fleet.target_error
