"""Many small images in one large one: compact as a file, and anyone can look at it."""

from __future__ import annotations

import numpy as np


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """(N, H, W, C) uint8 -> (rows * H, columns * W, C), row-major; the last row is filled up with black."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:n] = images
    grid = cells.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * height, columns * width, channels)


def untile(grid: np.ndarray, n: int, image_shape: tuple[int, int, int]) -> np.ndarray:
    """The inverse of `tile`: the first `n` images of shape (H, W, C)."""
    height, width, channels = image_shape
    rows, columns = grid.shape[0] // height, grid.shape[1] // width
    cells = grid.reshape(rows, height, columns, width, channels).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(cells.reshape(rows * columns, height, width, channels)[:n])
