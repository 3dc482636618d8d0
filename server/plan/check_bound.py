"""Whether a plan's lower bound is one: the least that the fleet costs at the plan's prices, found the slow, plain way.

At any lambda, mu >= 0 no plan costs less than
  sum over devices of min [E_cmp + E_com + lambda/I*loss + mu*use]  -  lambda*allowed - mu*capacity
and a bound that the solver states must not be above that. Each device's least is looked for here by golden sections,
one inside the other, over the seconds of its upload, its samples and its hertz; all of it is convex. Nothing is shared
with the solver but the formulae in `models`: no closed form, no inverse, no price of a second.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.plan.check_clocks import TOLERANCE
from server.plan.check_least import Board, Sender, loss_of, lowest
from server.plan.problem import Plan, Problem

_CHUNK = 1_024  # devices at a time: arrays that stay in the cache


def proves(problem: Problem, plan: Plan, value_j: float) -> bool:
    """Whether lower_bound_j is at most `value_j`, the plan's `dual_value_j`, but for rounding."""
    size_j = abs(plan.energy_j) + plan.price_error_j * (problem.target_error or 0.0)
    size_j += plan.price_bandwidth_j_per_hz * (problem.bandwidth_hz or 1.0)
    return plan.lower_bound_j <= value_j + TOLERANCE * size_j


def dual_value_j(problem: Problem, price_error_j: float, price_medium_j: float) -> float:
    """What no plan costs less than, by the prices (J per unit of error, J per hertz or for all of a link), to some 1e-9
    of the joules. Radios with discrete levels are not convex: raises `ValueError`."""
    if len(problem.devices.levels.watts):
        raise ValueError("with discrete levels of power the devices' costs are not convex")
    if not (price_error_j >= 0 and price_medium_j >= 0):
        raise ValueError("a price is negative: it proves nothing")
    capacity = problem.bandwidth_hz if problem.devices.radios.of_kind("scheduled", "fixed_power").any() else 1.0
    _, allowed = loss_of(problem)
    total_j = -price_error_j * allowed - price_medium_j * (capacity or 0.0)
    for first in range(0, len(problem.devices), _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(problem.devices)))
        part = replace(problem, devices=problem.devices.take(rows))
        total_j += float(_least_j(part, price_error_j / len(problem.devices), price_medium_j).sum())
    return total_j


def _least_j(problem: Problem, price_each_j: float, price_medium_j: float) -> np.ndarray:
    """The least priced joules (I,) of each device; `price_each_j` for a unit of its own error."""
    with np.errstate(all="ignore"):
        board, sender = Board(problem, price_each_j), Sender(problem, price_medium_j)
        low = sender.least_s()

        def cost(upload_s: np.ndarray) -> np.ndarray:
            return board.least_j(problem.round_s - upload_s) + sender.least_j(upload_s)

        return lowest(cost, low, np.maximum(problem.round_s - board.least_s, low))[0]
