"""y = c0 + c1 * x through weighted points, neither coefficient below 0, with their covariance. Pure; see `planes`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.calibrate.planes import fit_plane


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
    """The line through points (K,), K >= 2, y > 0; `uncertainty` (K,) relative to y, None: alike, size unknown."""
    columns = np.stack([np.ones(len(x)), x], axis=1)
    sigma = y if uncertainty is None else uncertainty * y
    plane = fit_plane(columns, y, sigma, relative=uncertainty is None)
    intercept, slope = plane.coefficients.tolist()
    return Line(intercept, slope, plane.covariance)
