"""Where the tangents of a concave function of two prices meet highest: a linear programme in three unknowns."""

from __future__ import annotations

import numpy as np

Cut = tuple[np.ndarray, float, np.ndarray]

_REACH = 2.0  # times the prices so far best, up or down: tangents say little further away


def highest(cuts: list[Cut], around: np.ndarray) -> tuple[np.ndarray | None, float]:
    """(prices (2,) >= 0 near `around` at which the least of the cuts is highest, its value there).

    A cut is (prices, value, slope): value + slope @ (x - prices) lies above the function everywhere. A price of 0 stays
    0. None where the programme cannot be solved.
    """
    from scipy.optimize import linprog

    scale = np.where(around > 0, around, 1.0)
    value_scale = max(abs(value) for _, value, _ in cuts) or 1.0
    # unknowns: prices / scale and the height over value_scale; maximise the height
    rows = np.array([np.append(-slope * scale / value_scale, 1.0) for _, _, slope in cuts])
    limits = np.array([(value - slope @ prices) / value_scale for prices, value, slope in cuts])
    reach = [(1.0 / _REACH, _REACH) if price > 0 else (0.0, 0.0) for price in around]
    solved = linprog([0.0, 0.0, -1.0], A_ub=rows, b_ub=limits, bounds=[*reach, (None, None)], method="highs")
    if solved.status != 0:
        return None, np.inf
    return solved.x[:2] * scale, float(solved.x[2]) * value_scale
