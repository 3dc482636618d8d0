"""Temperature of a board at work, and what it adds to its watts. Pure.

One heat capacity behind one resistance: at constant watts the temperature nears ambient + R * P, the gap shrinking by
a factor e every time constant. Leakage makes a hot chip draw more; over the range of a sweep that is a line.
"""

from __future__ import annotations

import numpy as np


def remaining(seconds: np.ndarray, time_constant_s: float) -> np.ndarray:
    """Share of the gap to the settled temperature that is left after `seconds`."""
    return np.exp(-np.asarray(seconds, dtype=float) / time_constant_s)


def mean_gap(seconds: np.ndarray, time_constant_s: float) -> np.ndarray:
    """Mean share of the gap over `seconds` > 0: (1 - e^-x) / x with x = seconds / time constant; 0 for ever."""
    x = np.asarray(seconds, dtype=float) / time_constant_s
    return np.where(np.isinf(x), 0.0, -np.expm1(-x) / np.where(np.isinf(x), 1.0, x))


def mean_between_c(start_c: np.ndarray, end_c: np.ndarray, seconds: np.ndarray, time_constant_s: float) -> np.ndarray:
    """Mean temperature of a window that began at `start_c` and ended at `end_c`, arrays of one shape."""
    left = remaining(seconds, time_constant_s)
    settled_c = (end_c - start_c * left) / (1.0 - left)
    return settled_c + (start_c - settled_c) * mean_gap(seconds, time_constant_s)


def power_from_w(
    power_w: np.ndarray,
    seen_c: np.ndarray,
    *,
    start_c: float,
    seconds: float,
    ambient_c: float,
    resistance_c_per_w: float,
    time_constant_s: float,
    w_per_c: float,
) -> np.ndarray:
    """Mean watts over `seconds` of work that begins at `start_c`, where `power_w` was seen at a mean of `seen_c`.

    The watts warm the board and its warmth adds to the watts: P = power_w + w_per_c * (T - seen_c), T = (1 - g) *
    (ambient + R * P) + g * start_c with g = mean_gap. Linear in P, and solved for it; needs w_per_c * R < 1.
    """
    gap = mean_gap(np.array(seconds), time_constant_s)
    fed_back = w_per_c * resistance_c_per_w * (1.0 - gap)
    without = power_w + w_per_c * ((1.0 - gap) * ambient_c + gap * start_c - seen_c)
    return np.asarray(without / (1.0 - fed_back))
