"""Many small images in one PNG: compact on disk, and anyone can look at it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from server.errors import DataError
from server.files import write_atomic


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


def write_png(path: Path, grid: np.ndarray) -> None:
    """Write (H, W, 1 or 3) uint8 as a PNG, whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid).save(buffer, format="PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def read_png(path: Path) -> np.ndarray:
    """A PNG as (H, W, 1 or 3) uint8."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a whole PNG: {error}") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels
