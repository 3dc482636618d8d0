"""Nearest neighbours by brute force, in pieces that fit into memory. Pure."""

from __future__ import annotations

import numpy as np

PIECE = 500


def nearest(rows: np.ndarray, among: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances (N, k), ascending, and indices (N, k) of the k rows of `among` nearest to each of `rows`."""
    rows, among = np.asarray(rows, dtype=np.float32), np.asarray(among, dtype=np.float32)
    k = min(k, len(among))
    middle = among.mean(axis=0, keepdims=True)  # centred: less is lost where two large squares are subtracted
    rows, among = rows - middle, among - middle
    squares = (among * among).sum(axis=1)
    distances, indices = np.empty((len(rows), k)), np.empty((len(rows), k), dtype=np.int64)
    for start in range(0, len(rows), PIECE):
        piece = rows[start : start + PIECE]
        far = squares[None] - 2.0 * piece @ among.T
        pick = np.argpartition(far, k - 1, axis=1)[:, :k]
        own = np.take_along_axis(far, pick, axis=1).astype(np.float64) + (piece * piece).sum(axis=1)[:, None]
        order = np.argsort(own, axis=1, kind="stable")
        indices[start : start + PIECE] = np.take_along_axis(pick, order, axis=1)
        distances[start : start + PIECE] = np.sqrt(np.take_along_axis(own, order, axis=1).clip(min=0.0))
    return distances, indices
