"""The prices where the answers jump: cutting planes, and points blended from the answers around the best prices.

At any prices the devices' answers give a plane above the dual function. Where the least of the planes so far is highest
is a linear programme in the prices; its dual is a blend of the answers that keeps the constraints, and everything being
convex its energy is at most the blend of theirs. The gap between both is known at every step. A pooled target needs
this: what it pays is the same for every sample, so whole groups of them change sides at one price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from server.plan.points import Step

_PIVOTS = 200
_ROUNDING = 1e-15  # relative, of costs
_REACH = 2.0  # times or parts of the best prices
_FURTHEST = 1e6
_HELD = 10_000_000  # answers of devices: what 500 MB hold


@dataclass(frozen=True)
class Plane:
    """What touches the dual function at prices (P,), above it elsewhere: its value there, and its slope (P,), which is
    what the devices' answers lack of the constraints; joules without anything priced."""

    prices: np.ndarray
    value_j: float
    lack: np.ndarray

    @property
    def joules(self) -> float:
        return self.value_j - float(self.lack @ self.prices)


@dataclass(frozen=True)
class Cut(Plane):
    """A plane with the answers that make it."""

    step: Step


@dataclass(frozen=True)
class Peak:
    """Where the least of all cuts is highest within a box: prices (P,), the height, the weights (K,) of the cuts that
    meet there, and what their blend lacks (P,) or has left over (P,) because the box ends there. `free` where it has no
    say: the weights then blend the answers to what is wanted."""

    prices: np.ndarray
    height_j: float
    weights: np.ndarray
    bought: np.ndarray
    sold: np.ndarray
    free: bool = False


class Hunt:
    """The cuts so far, within a box around the best of them that follows it and grows."""

    def __init__(self, least: np.ndarray, spare: np.ndarray, enough: float):
        self._least, self._spare, self._enough = least, spare, enough
        self._reach = _REACH
        self.cuts: list[Cut] = []

    @property
    def best(self) -> Cut:
        return max(self.cuts, key=lambda cut: cut.value_j)

    def add(self, cut: Cut) -> None:
        """One more; of large fleets only so many are kept, those that meet lowest around the best."""
        self.cuts.append(cut)
        if len(self.cuts) > 4 and len(self.cuts) * len(cut.step.bound_j) > _HELD:
            around = self.best.prices
            highest = max(self.cuts, key=lambda one: one.joules + float(one.lack @ around))
            self.cuts = [one for one in self.cuts if one is not highest]

    def top(self) -> Peak:
        """The highest point within reach of the best prices."""
        around = self.best.prices
        low = np.maximum(around / self._reach, self._least)
        found = peak(self.cuts, low, around * self._reach)
        kept = bool((found.bought <= self._spare).all() and (found.sold <= self._spare)[low > self._least].all())
        if not kept:
            self._reach = min(2.0 * self._reach, _FURTHEST)
        return replace(found, free=kept)

    def done(self, found: Peak) -> bool:
        """Whether the answers that meet there blend to within reach of the bound."""
        return found.free and found.height_j - self.best.value_j <= self._enough * abs(found.height_j)

    def blend(self, found: Peak) -> Step:
        """The best answers with the points of the blend."""
        points, whole = self.best.step.points, 0.0
        for cut, weight in zip(self.cuts, found.weights.tolist(), strict=True):
            if weight > 0.0:
                whole += weight
                points = points.blend(cut.step.points, weight / whole)
        return replace(self.best.step, points=points)


def peak(cuts: Sequence[Plane], least: np.ndarray, most: np.ndarray) -> Peak:
    """The highest point under all cuts with least <= prices <= most (P,), by the simplex method on the weights.

    Minimise w @ joules with sum(w) = 1 and w @ lack <= 0; prices in a box mean that what is lacking can be bought at
    `most`, and what is left over be sold at `least`.
    """
    scale = np.maximum(np.abs([cut.lack for cut in cuts]).max(axis=0), 1e-300)
    unit = max(float(np.abs([cut.value_j for cut in cuts]).max()), 1e-300)
    count, wide = len(cuts), len(least)
    first_j = max(cut.value_j for cut in cuts)
    cost = np.array([cut.joules - first_j for cut in cuts])
    columns = np.vstack([np.ones(count), np.array([cut.lack / scale for cut in cuts]).T])
    slack = np.vstack([np.zeros(2 * wide), np.hstack([-np.eye(wide), np.eye(wide)])])
    columns = np.hstack([columns, slack])
    cost = np.concatenate([cost, most * scale, -least * scale]) / unit
    basis = _start(columns, count, wide)
    right = np.zeros(1 + wide)
    right[0] = 1.0
    duals = np.zeros(1 + wide)
    for _ in range(_PIVOTS):
        square = columns[:, basis]
        duals = np.linalg.solve(square.T, cost[basis])
        gains = cost - duals @ columns
        enters = int(gains.argmin())
        if gains[enters] >= -_ROUNDING * np.abs(cost[basis]).max():
            break
        amounts, change = np.linalg.solve(square, np.stack([right, columns[:, enters]], axis=1)).T
        ratios = np.where(change > 1e-12, np.maximum(amounts, 0.0) / np.maximum(change, 1e-300), np.inf)
        if not np.isfinite(ratios).any():
            break
        basis[int(ratios.argmin())] = enters
    amounts = np.maximum(np.linalg.solve(columns[:, basis], right), 0.0)
    weights = np.zeros(count + 2 * wide)
    weights[basis] = amounts
    prices = np.clip(-duals[1:] * unit / scale, least, most)
    height_j, used = first_j + float(duals[0]) * unit, weights[:count] / weights[:count].sum()
    return Peak(prices, height_j, used, weights[count : count + wide] * scale, weights[count + wide :] * scale)


def _start(columns: np.ndarray, count: int, wide: int) -> np.ndarray:
    """A first basis: the first cut, with what it lacks bought and what it has left over sold."""
    lack = columns[1:, 0]
    return np.concatenate([[0], count + np.arange(wide) + np.where(lack > 0, 0, wide)])
