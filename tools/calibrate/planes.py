"""y = c0 x0 + c1 x1 + ... through weighted points, no coefficient below 0, with their covariance. Pure.

Ordinary weighted least squares; where a coefficient comes out negative, the best of all fits with some coefficients
held at 0 and the others not negative: with few columns, trying each choice is all that non-negative least squares
does. The covariance is that of the weights, (X'WX)^-1, grown by chi2 / freedom: always where the weights are only
relative, else where it is above 1 (the points then scatter more about the plane than their repeats among each other:
the form is not quite right).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Plane:
    """`coefficients` (N,), none below 0, and their covariance (N, N); one held at 0 has none. `freedom` is the points
    less the coefficients that were free: at 0 and with weights of unknown size the covariance says nothing."""

    coefficients: np.ndarray
    covariance: np.ndarray
    freedom: int

    def at(self, columns: np.ndarray) -> np.ndarray:
        """y (K,) at `columns` (K, N)."""
        return columns @ self.coefficients


def fit_plane(columns: np.ndarray, y: np.ndarray, sigma: np.ndarray, *, relative: bool) -> Plane:
    """The plane through points (K, N), K >= 1; `sigma` (K,) the uncertainty of each y, `relative`: but for a factor.

    Columns are scaled to their largest value first: hertz cubed and 1 have no business in one matrix. A column that is
    a mix of others gets what least squares gives it; whoever calls sees to it that there is none.
    """
    scale = np.abs(columns).max(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    weighted = columns / scale / sigma[:, None]
    wanted = y / sigma
    count = columns.shape[1]
    free, found = min(_feasible(weighted, wanted), key=lambda one: _squares(weighted, wanted, *one))
    coefficients = np.zeros(count)
    coefficients[list(free)] = found
    covariance = np.zeros((count, count))
    normal = weighted[:, free].T @ weighted[:, free]
    covariance[np.ix_(free, free)] = np.linalg.pinv(normal)
    freedom = len(y) - len(free)
    misfit = _squares(weighted, wanted, free, found) / freedom if freedom > 0 else 0.0
    covariance *= misfit if relative else max(1.0, misfit)
    return Plane(coefficients / scale, covariance / np.outer(scale, scale), freedom)


def _feasible(columns: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Choices of free columns with coefficients that are not negative; all free alone where that is one, for it is the
    least of all."""
    count = columns.shape[1]
    for size in range(count, -1, -1):
        for free in combinations(range(count), size):
            found = np.linalg.lstsq(columns[:, free], wanted, rcond=None)[0] if size else np.zeros(0)
            if (found >= 0).all():
                yield list(free), found
                if size == count:
                    return


def _squares(columns: np.ndarray, wanted: np.ndarray, free: Sequence[int], found: np.ndarray) -> float:
    return float(((columns[:, list(free)] @ found - wanted) ** 2).sum())
