"""How much of the samples looks real, and how much of what is real the samples reach. Pure; rows are features.

Precision and recall: Kynkaanniemi et al. arXiv 1904.06991; coverage: Naeem et al. arXiv 2002.09797, which one odd
sample does not move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.errors import DataError
from server.synth.assess.neighbours import nearest

K_PRECISION = 3
K_COVERAGE = 5


@dataclass(frozen=True)
class Manifold:
    """Shares in 0..1: samples within the reach of real ones, real ones within that of samples, and coverage."""

    precision: float
    recall: float
    coverage: float


def manifold(real: np.ndarray, made: np.ndarray) -> Manifold:
    """All three; more rows than neighbours asked for on each side, else DataError."""
    least = max(K_PRECISION, K_COVERAGE) + 1
    if min(len(real), len(made)) < least:
        raise DataError(f"precision and recall need {least} samples or more on each side")
    return Manifold(
        precision=float(within(made, real, radii(real, K_PRECISION)).mean()),
        recall=float(within(real, made, radii(made, K_PRECISION)).mean()),
        coverage=covered(real, made),
    )


def radii(rows: np.ndarray, k: int) -> np.ndarray:
    """(N,) the distance of each row to its k-th nearest other one."""
    return nearest(rows, lambda: [rows], k + 1)[0][:, k]


def within(points: np.ndarray, centres: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a point lies in the ball of any centre; `reach` (M,) are the balls' radii."""
    inside = np.zeros(len(points), dtype=bool)
    centre_squares = (centres.astype(np.float64) ** 2).sum(axis=1)
    for start in range(0, len(points), 500):
        piece = points[start : start + 500].astype(np.float64)
        squares = (piece**2).sum(axis=1)[:, None] + centre_squares[None] - 2.0 * piece @ centres.T
        inside[start : start + 500] = (squares <= reach[None] ** 2 + 1e-9).any(axis=1)
    return inside


def covered(real: np.ndarray, made: np.ndarray) -> float:
    """The share of real rows that have a made one within the distance of their k-th nearest real one."""
    return float((nearest(real, lambda: [made], 1)[0][:, 0] <= radii(real, K_COVERAGE) + 1e-9).mean())
