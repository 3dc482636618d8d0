"""Images as PNG and lossless WebP files, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from server.errors import DataError
from server.files import write_atomic

NOTE = "fimi"
"""Keyword of the text that a PNG carries beside its pixels."""


def write_png(path: Path, grid: np.ndarray) -> None:
    """Write (H, W, 1 or 3) uint8 as a PNG, whole or not at all."""
    write_atomic(path, png_bytes(grid))


def png_bytes(grid: np.ndarray, note: str | None = None) -> bytes:
    """(H, W, 1 or 3) uint8 as a PNG, with a text beside the pixels if one is given."""
    text = PngInfo()
    if note is not None:
        text.add_text(NOTE, note)
    buffer = io.BytesIO()
    image = Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid)
    image.save(buffer, format="PNG", optimize=True, pnginfo=text)
    return buffer.getvalue()


def webp_bytes(grid: np.ndarray) -> bytes:
    """(H, W, 1 or 3) uint8 as lossless WebP, smaller than PNG by a fifth; at most 16,383 pixels a side."""
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(grid, 3, axis=2) if grid.shape[2] == 1 else grid).save(
        buffer, format="WEBP", lossless=True, quality=100, method=4
    )
    return buffer.getvalue()


def read_png(path: Path) -> np.ndarray:
    """A PNG as (H, W, 1 or 3) uint8."""
    pixels = _decoded(path, "PNG")
    return pixels[..., None] if pixels.ndim == 2 else pixels


def read_noted_png(path: Path) -> tuple[np.ndarray, str]:
    """A PNG as (H, W, 1 or 3) uint8, and the text it carries; "" where there is none."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            pixels, texts = np.asarray(image), getattr(image, "text", {})
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} is not a whole PNG: {error}") from error
    return (pixels[..., None] if pixels.ndim == 2 else pixels), str(texts.get(NOTE, ""))


def read_picture(path: Path, channels: int) -> np.ndarray:
    """A file of any lossless kind as (H, W, channels) uint8."""
    pixels = _decoded(path, "picture")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(pixels[..., :channels])


def _decoded(path: Path, kind: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a whole {kind}: {error}") from error
