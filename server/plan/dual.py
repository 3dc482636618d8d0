"""The prices that couple devices: lambda (joules per unit of mean error) and mu (joules per hertz or share).

At any prices >= 0 the devices' answers bound the least energy from below. Where the best prices are sought, and how,
stands in price_search.py; here is what they are worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from server.plan.fleet import Fleet
from server.plan.points import Points, Step
from server.plan.price_search import ROUNDING, PriceSearch


@dataclass(frozen=True)
class Dual:
    """Prices with the devices' answers at them; `bound_j` is a lower bound on the least energy of the fleet."""

    price_error_j: float
    price_medium_j: float
    step: Step
    bound_j: float


def prices_of(price_error_j: float, price_medium_j: float, price_s_w: np.ndarray | None = None) -> Dual:
    """Prices alone, to start from: all that is known of an earlier plan; without those of a second (I,) if need be."""
    nothing = np.zeros(0)
    points = Points(nothing, nothing, nothing, nothing)
    seconds_w = nothing if price_s_w is None else price_s_w
    step = Step(price_error_j, price_medium_j, points, nothing, seconds_w)
    return Dual(price_error_j, price_medium_j, step, -math.inf)


def solve_dual(fleet: Fleet, fixed_error_price_j: float | None = None, warm: Dual | None = None) -> Dual:
    """The best prices; with `fixed_error_price_j` only mu is sought (mean error is then an objective).

    `warm` is the answer of a similar fleet with the same devices in the same order.
    """
    return quick_dual(fleet, fixed_error_price_j, warm) or bracketed_dual(fleet, fixed_error_price_j)


def quick_dual(fleet: Fleet, fixed_error_price_j: float | None = None, warm: Dual | None = None) -> Dual | None:
    """The best prices by Newton's method, or cutting planes where a pooled target makes the answers jump; None where
    they are not found."""
    price_s_w = None if warm is None or len(warm.step.price_s_w) != len(fleet) else warm.step.price_s_w
    search = PriceSearch(fleet, fixed_error_price_j, price_s_w)
    at = search.guess() if warm is None else search.filled(warm.price_error_j, warm.price_medium_j)
    step = search.blended(at) if search.jumps else search.newton(at)
    return None if step is None else _dual(fleet, step)


def blended_dual(fleet: Fleet, near: Dual | None) -> Dual | None:
    """The best prices by cutting planes, with points blended from the answers around them; None where that fails."""
    search = PriceSearch(fleet, None, None if near is None else near.step.price_s_w)
    at = search.guess() if near is None else search.filled(near.price_error_j, near.price_medium_j)
    step = search.blended(at) if search.sought.any() else None
    return None if step is None else _dual(fleet, step)


def bracketed_dual(fleet: Fleet, fixed_error_price_j: float | None = None) -> Dual:
    """The best prices by bracketing, patient and sure; those of the edge where there are none."""
    search = PriceSearch(fleet, fixed_error_price_j, None)
    return _dual(fleet, search.bracketed(search.guess()))


def _dual(fleet: Fleet, step: Step) -> Dual:
    return Dual(step.price_error_j, step.price_medium_j, step, bound(fleet, step))


def bound(fleet: Fleet, step: Step) -> float:
    """sum of the devices' bounds - lambda*Delta - mu*B: below the least energy for any prices >= 0.

    What rounding may have added is taken off again: it counts where the prices are those of an edge, beyond all
    measure. Raises `ValueError` for a negative price, which bounds nothing.
    """
    if step.price_error_j < 0 or step.price_medium_j < 0 or not bool((step.price_s_w >= 0).all()):
        raise ValueError("a price is negative: the devices' answers to it bound nothing from below")
    total_j = float(step.bound_j.sum())
    if step.price_error_j > 0 and fleet.target_error is not None:
        total_j -= step.price_error_j * fleet.allowed_loss
    if step.price_medium_j > 0:
        total_j -= step.price_medium_j * fleet.capacity
    waited_j = float(step.price_s_w.sum()) * fleet.round_s
    size_j = float(np.abs(step.bound_j).sum()) + coupled_size_j(fleet, step.price_error_j, step.price_medium_j)
    return total_j - ROUNDING * (size_j + waited_j)


def coupled_size_j(fleet: Fleet, price_error_j: float, price_medium_j: float) -> float:
    """The size of what is summed for the constraints that couple devices: what rounding counts against."""
    size_j = 0.0
    if price_error_j > 0 and fleet.target_error is not None:
        largest = fleet.worth_slope * float(fleet.worth(fleet.most).mean()) if fleet.pooled else fleet.target_error
        size_j += price_error_j * max(largest, abs(fleet.allowed_loss))
    return size_j + (price_medium_j * fleet.capacity if price_medium_j > 0 else 0.0)
