"""How far two sets of features lie apart: Frechet's distance and a kernel's. Pure; features are rows of (N, D).

Sources: Heusel et al. arXiv 1706.08500 (Frechet), Binkowski et al. arXiv 1801.01401 (kernel distance, unbiased). Both
depend on the network that the features come from: compare numbers of one network only, and with its floor.
"""

from __future__ import annotations

import numpy as np

from server.errors import DataError


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|mean difference|^2 + tr(A + B - 2 (A B)^(1/2)) of the two normal laws; 2 rows or more on each side.

    It is biased upwards, the more so the fewer rows there are: only equal numbers of rows are comparable.
    """
    if min(len(a), len(b)) < 2:
        raise DataError(f"a Frechet distance needs two samples or more on each side, not {len(a)} and {len(b)}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    # A B and A^(1/2) B A^(1/2) have the same eigenvalues; the second is symmetric
    cross = np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0.0)
    shift = a.mean(axis=0) - b.mean(axis=0)
    distance = shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2.0 * np.sqrt(cross).sum()
    return float(max(distance, 0.0))


def squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased estimate with the kernel (x.y / D + 1)^3; below zero by chance where the two laws are equal."""
    a, b = a.astype(np.float64), b.astype(np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    def within(x: np.ndarray) -> float:
        k = kernel(x, x)
        return float((k.sum() - np.trace(k)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2.0 * float(kernel(a, b).mean())


def kernel_distance(a: np.ndarray, b: np.ndarray, *, subset: int = 250, seed: int = 0) -> tuple[float, float | None]:
    """Mean of `squared_mmd` over subsets that share no row, and the mean's standard error (None with a single one).

    Subsets without common rows are independent draws, so that the error is not understated.
    """
    n = min(len(a), len(b))
    subset = min(subset, n)
    if subset < 2:
        raise DataError(f"a kernel distance needs two samples or more on each side, not {len(a)} and {len(b)}")
    rng = np.random.default_rng(seed)
    left, right = (rng.permutation(len(x))[:n] for x in (a, b))
    found = np.array(
        [
            squared_mmd(a[left[start : start + subset]], b[right[start : start + subset]])
            for start in range(0, n - subset + 1, subset)
        ]
    )
    error = float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None
    return float(found.mean()), error
