"""Nearest neighbours by brute force, in pieces that fit into memory. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

PIECE = 2000

Views = Callable[[], Iterable[np.ndarray]]
"""The same rows (M, D), a view after the other; asked anew for each piece of others, so that few are held at once."""


def nearest(rows: np.ndarray, views: Views, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances (N, k), ascending, and indices (N, k) of the k of M rows nearest to each of `rows`.

    How far one is away is how far its nearest view is.
    """
    rows = np.asarray(rows, dtype=np.float32)
    distances: list[np.ndarray] = []
    indices: list[np.ndarray] = []
    for start in range(0, len(rows), PIECE):
        far = _squares(rows[start : start + PIECE], views())
        pick = np.argpartition(far, min(k, far.shape[1]) - 1, axis=1)[:, :k]
        own = np.take_along_axis(far, pick, axis=1)
        order = np.argsort(own, axis=1, kind="stable")
        indices.append(np.take_along_axis(pick, order, axis=1))
        distances.append(np.sqrt(np.take_along_axis(own, order, axis=1).clip(min=0.0)).astype(np.float64))
    return np.concatenate(distances), np.concatenate(indices)


def _squares(piece: np.ndarray, views: Iterable[np.ndarray]) -> np.ndarray:
    """(n, M) squared distances to the nearest view of each of M rows."""
    least: np.ndarray | None = None
    middle = piece.mean(axis=0, keepdims=True)  # centred: less is lost where two large squares are subtracted
    piece = piece - middle
    own = (piece * piece).sum(axis=1, dtype=np.float64)[:, None]
    for view in views:
        among = np.asarray(view, dtype=np.float32) - middle
        far = piece @ among.T
        far *= -2.0
        far += (among * among).sum(axis=1)
        least = far if least is None else np.minimum(least, far, out=least)
    assert least is not None  # rows are seen at least one way
    return least + own
