"""y = c0 + c1 * x through weighted points, neither coefficient below 0, with their covariance. Pure.

Ordinary weighted least squares; where a coefficient comes out negative the best fit with it at 0 is taken instead (with
two coefficients, looking at both edges is all that non-negative least squares does). The covariance is that of the
weights, (X'WX)^-1, grown by chi2 / freedom: always where the weights are only relative, else where it is above 1 (the
points then scatter more about the line than their repeats among each other: the form is not quite right).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """`intercept` >= 0, `slope` >= 0 and the covariance (2, 2) of both; a coefficient held at 0 has none."""

    intercept: float
    slope: float
    covariance: np.ndarray

    def at(self, x: np.ndarray) -> np.ndarray:
        """y (K,) at `x` (K,)."""
        return self.intercept + self.slope * x


def fit_line(x: np.ndarray, y: np.ndarray, uncertainty: np.ndarray | None = None) -> Line:
    """The line through points (K,), K >= 2, y > 0; `uncertainty` (K,) relative to y, None: alike for all, size unknown.

    `x` is scaled to its largest value first: hertz cubed and hertz to the minus one have no business in one matrix.
    """
    scale = float(np.abs(x).max())
    relative = np.ones(len(y)) if uncertainty is None else uncertainty
    root_weight = 1.0 / (relative * y)
    columns = np.stack([np.ones(len(x)), x / scale], axis=1) * root_weight[:, None]
    wanted = y * root_weight
    free = _free_columns(columns, wanted)
    coefficients = np.zeros(2)
    coefficients[free] = np.linalg.lstsq(columns[:, free], wanted, rcond=None)[0]
    covariance = np.zeros((2, 2))
    covariance[np.ix_(free, free)] = np.linalg.inv(columns[:, free].T @ columns[:, free])
    freedom = len(y) - len(free)
    misfit = float(((columns @ coefficients - wanted) ** 2).sum()) / freedom if freedom > 0 else 0.0
    covariance *= misfit if uncertainty is None else max(1.0, misfit)
    to_units = np.array([1.0, 1.0 / scale])
    intercept, slope = (coefficients * to_units).tolist()
    return Line(intercept, slope, covariance * np.outer(to_units, to_units))


def _free_columns(columns: np.ndarray, wanted: np.ndarray) -> list[int]:
    """Which of both coefficients are not held at 0."""
    both = np.linalg.lstsq(columns, wanted, rcond=None)[0]
    if (both >= 0).all():
        return [0, 1]

    def left(k: int) -> float:
        along = columns[:, k]
        return float(((along * (along @ wanted) / (along @ along) - wanted) ** 2).sum())

    return [min((0, 1), key=left)]
