"""The exact solver: convex fleets by prices, fleets with discrete levels of transmit power by prices and branching."""

from __future__ import annotations

from server.plan.branch import solve_levels
from server.plan.convex import Solved, solve_convex
from server.plan.dual import Dual
from server.plan.fleet import Fleet

__all__ = ["Solved", "solve_exact"]


def solve_exact(fleet: Fleet, warm: Dual | None = None) -> Solved:
    """The points of least joules with their certificate; raises `NoPlanError` with a diagnosis where no plan exists.

    `warm`, of a similar fleet with the same devices in the same order, is quicker. With discrete levels the points are
    the best found, and how far they can be from the least is what the bound says.
    """
    if fleet.links.leveled.any():
        return solve_levels(fleet, warm)
    return solve_convex(fleet, warm)
