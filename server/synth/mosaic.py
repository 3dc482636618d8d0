"""Images as PNG files, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from server.errors import DataError
from server.files import write_atomic


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
