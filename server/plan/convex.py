"""The exact solver for a fleet of any size whose problem is convex: prices, points that keep every constraint, and the
bound below them."""

from __future__ import annotations

from dataclasses import dataclass

from server.plan.dual import Dual, blended_dual, bracketed_dual, quick_dual
from server.plan.feasible import most_accurate, with_data
from server.plan.fleet import Fleet
from server.plan.points import Points
from server.plan.repair import kept, repair, tidy


@dataclass(frozen=True)
class Solved:
    """Points that keep every constraint, and the prices that certify them: dual.bound_j is below the least energy."""

    points: Points
    dual: Dual


def solve_convex(fleet: Fleet, warm: Dual | None = None) -> Solved:
    """The points of least joules; `warm` from a similar fleet of the same devices in the same order is quicker.

    Raises `NoPlanError` with a diagnosis where no plan exists. Whether one does is asked in full only where the prices
    are hard to find or their points break a constraint: points that keep all of them are answer enough.
    """
    with_data(fleet)
    dual: Dual | None = None
    for start in [None] if warm is None else [warm, None]:
        dual = quick_dual(fleet, warm=start)
        solved = _as_it_is(fleet, dual)
        if solved is not None:
            return solved
    dual = blended_dual(fleet, dual) or dual  # what a last step by slopes alone may miss, a blend does not
    if dual is None:
        most_accurate(fleet)
        dual = bracketed_dual(fleet)
    return Solved(repair(fleet, dual.step.points, lambda: most_accurate(fleet)), dual)


def _as_it_is(fleet: Fleet, dual: Dual | None) -> Solved | None:
    """The points of the prices if they keep every constraint."""
    if dual is None:
        return None
    points = tidy(fleet, dual.step.points)
    return Solved(points, dual) if kept(fleet, points) else None
