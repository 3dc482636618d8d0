"""Fleets with discrete levels of power: the best levels by prices, then by branching on who uses which.

In turns the prices choose the levels and the levels' own optimum gives new prices: each turn yields a bound and a plan.
Their gap is at most what a few devices differ between two levels (Shapley-Folkman), so it fades with the fleet's size;
for small fleets the bound is raised by cutting planes and the rest is branched on, best bound first.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from server.plan.bundle import Plane, peak
from server.plan.convex import Solved, solve_convex
from server.plan.device_step import joules
from server.plan.diagnosis import NoPlanError
from server.plan.dual import Dual, solve_dual
from server.plan.fleet import Fleet
from server.plan.levels import Asked, Ways, at_power

_TURNS = 6
_BRANCHED = 300  # leveled devices: beyond that the gap is small without branching
_NODES = 40
_CUTS = 12  # prices that are asked to raise one bound
_GAP = 1e-7  # relative: near enough
_REACH = 2.0  # times the prices so far best, up or down: tangents say little further away


@dataclass
class _Hunt:
    """What is known so far: the fleet asked at every level, the answers, the plans tried and the best of them."""

    ways: Ways
    asked: list[Asked] = field(default_factory=list)
    tried: set[bytes] = field(default_factory=set)
    best: Solved | None = None
    energy_j: float = np.inf

    def attempt(self, choice: np.ndarray, warm: Dual | None) -> Solved | None:
        """The optimum at given levels, if it was not tried before and exists; the best one is kept."""
        key = choice.astype(np.int16).tobytes()
        if key in self.tried:
            return None
        self.tried.add(key)
        fixed = self.ways.fixed(choice)
        try:
            solved = solve_convex(fixed, warm)
        except NoPlanError:
            return None
        energy_j = float(joules(fixed, solved.points).sum())
        if energy_j < self.energy_j:
            self.best, self.energy_j = solved, energy_j
        return solved

    def bound(self, allowed: np.ndarray) -> tuple[float, Asked]:
        """The best bound (J) that the answers give for the levels allowed, and the answers that give it."""
        bounds = [self.ways.bound(asked, allowed)[0] for asked in self.asked]
        first = int(np.argmax(bounds))
        return bounds[first], self.asked[first]

    def near(self, bound_j: float) -> bool:
        return bound_j >= self.energy_j - _GAP * abs(self.energy_j)


def solve_levels(fleet: Fleet, warm: Dual | None = None) -> Solved:
    """Points in which every leveled radio uses one of its levels, and a bound below all such points.

    Raises `NoPlanError` where there are none, which is where there are none at the highest levels.
    """
    hunt = _Hunt(Ways(fleet))
    everything = hunt.ways.real
    _turns(hunt, warm or solve_dual(replace(fleet, links=replace(fleet.links, levels_w=None))))
    if hunt.best is None:
        hunt.attempt(_highest(hunt.ways), None)
    if hunt.best is None:  # the same refusal, told with the ids and limits of the fleet itself
        return solve_convex(at_power(fleet, hunt.ways.rows, fleet.links.power_w[hunt.ways.rows]))
    bound_j = hunt.bound(everything)[0]
    if len(hunt.ways.rows) <= _BRANCHED and not hunt.near(bound_j):
        bound_j = _branched(hunt)
    return Solved(hunt.best.points, replace(hunt.best.dual, bound_j=bound_j))


def _highest(ways: Ways) -> np.ndarray:
    return ways.real.shape[1] - 1 - ways.real[:, ::-1].argmax(axis=1)


def _turns(hunt: _Hunt, dual: Dual) -> None:
    """Levels by prices, prices by levels, until a choice comes back."""
    for _ in range(_TURNS):
        hunt.asked.append(hunt.ways.ask(np.array([dual.price_error_j, dual.price_medium_j])))
        solved = hunt.attempt(hunt.asked[-1].choice(hunt.ways.real), dual)
        if solved is None or hunt.near(hunt.bound(hunt.ways.real)[0]):
            return
        dual = solved.dual


def _branched(hunt: _Hunt) -> float:
    """The least joules (a bound below them) after branching; better plans found on the way are kept."""
    order = count()
    heap = [(hunt.bound(hunt.ways.real)[0], next(order), hunt.ways.real)]
    closed_j = np.inf  # the least bound of what needs no more branching
    for _ in range(_NODES):
        if not heap or hunt.near(heap[0][0]):
            break
        bound_j, _, allowed = heapq.heappop(heap)
        bound_j = max(bound_j, _raised(hunt, allowed))
        asked = hunt.bound(allowed)[1]
        hunt.attempt(asked.choice(allowed), hunt.best.dual if hunt.best else None)
        if hunt.near(bound_j) or bool((allowed.sum(axis=1) == 1).all()):
            closed_j = min(closed_j, bound_j)
            continue
        for half in _halves(asked, allowed):
            heapq.heappush(heap, (max(bound_j, hunt.bound(half)[0]), next(order), half))
    return min(closed_j, hunt.energy_j, heap[0][0] if heap else np.inf)


def _raised(hunt: _Hunt, allowed: np.ndarray) -> float:
    """The bound (J) for the levels allowed, raised by asking where the cuts so far meet highest."""
    bound_j, asked = hunt.bound(allowed)
    for _ in range(_CUTS):
        paid = asked.prices > 0  # a price of 0 stays 0
        if not paid.any():
            break
        planes = []
        for other in hunt.asked:
            value_j, lack = hunt.ways.bound(other, allowed)
            planes.append(Plane(other.prices[paid], value_j - float(lack[~paid] @ other.prices[~paid]), lack[paid]))
        top = peak(planes, asked.prices[paid] / _REACH, asked.prices[paid] * _REACH)
        if top.height_j - bound_j <= 0.1 * _GAP * abs(bound_j) or hunt.near(bound_j):
            break
        prices = asked.prices.copy()
        prices[paid] = top.prices
        hunt.asked.append(hunt.ways.ask(prices))
        bound_j, asked = hunt.bound(allowed)
    return bound_j


def _halves(asked: Asked, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`allowed` (M, L) cut in two at the device whose two best levels are nearest to each other."""
    cost = np.where(allowed, asked.joules, np.inf)
    two = np.sort(cost, axis=1)[:, :2]
    device = int(np.argmin(two[:, 1] - two[:, 0]))
    level = int(cost[device].argmin())
    taken, left = allowed.copy(), allowed.copy()
    taken[device] = False
    taken[device, level] = True
    left[device, level] = False
    return taken, left
