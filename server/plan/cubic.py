"""Functions of one number, tabulated once as cubic pieces on an even grid: a look-up costs a few operations an element.

What the planner inverts is smooth on logarithmic axes, so that pieces of 1/32 come within 1e-10 of it. That is as
good as exact where a minimiser is looked up: what is lost goes with the square.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

STEP = 1.0 / 32.0
LEAST_X, MOST_X = 1e-30, 600.0  # of an inverse

Law = Callable[[np.ndarray], np.ndarray]


class Cubic:
    """y(u) and its slope from values and slopes at low, low + STEP, ...; beyond the ends the nearer end's values."""

    def __init__(self, low: float, values: np.ndarray, slopes: np.ndarray):
        self._low = low
        self._last = np.nextafter(len(values) - 1.0, 0.0)
        rise, left, right = np.diff(values), STEP * slopes[:-1], STEP * slopes[1:]
        self._pieces = (values[:-1].copy(), left, 3.0 * rise - 2.0 * left - right, left + right - 2.0 * rise)

    def __call__(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(y, dy/du), each (N,); u (N,) may be infinite, not NaN."""
        place = np.clip((u - self._low) * (1.0 / STEP), 0.0, self._last)
        piece = place.astype(np.int32)
        part = place - piece
        start, slope, bend, twist = (column.take(piece) for column in self._pieces)
        bent = bend + twist * part
        return start + part * (slope + part * bent), (slope + part * (2.0 * bent + twist * part)) * (1.0 / STEP)


class Inverse:
    """ln x from ln F(x) for a rising F, given ln F and d ln F / dx as functions of x; tabulated at first use."""

    def __init__(self, log_f: Law, slope: Law, least_x: float = LEAST_X, most_x: float = MOST_X):
        self._log_f, self._slope = log_f, slope
        self._ends = (np.log(least_x), np.log(most_x))

    @cached_property
    def _cubic(self) -> Cubic:
        known = np.linspace(*self._ends, 4000)
        heights = self._log_f(np.exp(known))
        wanted = np.arange(heights[0], heights[-1], STEP)
        log_x = self._refined(np.interp(wanted, heights, known), wanted, 4)
        x = np.exp(log_x)
        return Cubic(float(wanted[0]), log_x, 1.0 / (x * self._slope(x)))

    def _refined(self, log_x: np.ndarray, wanted: np.ndarray, steps: int) -> np.ndarray:
        for _ in range(steps):
            x = np.exp(log_x)
            log_x = log_x - np.clip((self._log_f(x) - wanted) / (x * self._slope(x)), -1.0, 1.0)
        return log_x

    def __call__(self, log_value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ln x, d ln x / d ln F), each (N,), to 1e-10; values (N,) outside F's range get the nearer end."""
        return self._cubic(log_value)

    def of(self, value: np.ndarray) -> np.ndarray:
        """x where F(x) = value, for values >= 0 of any shape, to 1e-10."""
        with np.errstate(divide="ignore"):
            log_x, _ = self._cubic(np.log(value))
        return np.exp(log_x)

    def exactly(self, log_value: np.ndarray) -> np.ndarray:
        """x (N,) to rounding."""
        log_x, _ = self._cubic(log_value)
        return np.exp(self._refined(log_x, log_value, 1))
