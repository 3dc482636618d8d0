"""Reading image files into one array, with a sentence for each thing that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from server.errors import DataError

NOT_IMAGES = {".txt", ".csv", ".json", ".xml", ".md", ".db", ".ini", ".yaml", ".yml", ".html"}
GREY_MODES = {"1", "L", "LA", "I", "I;16", "F"}
MAX_BYTES = 4 << 30
"""Decoded bytes beyond which the files are not read: a data set of camera photos is meant to be resized."""


def image_files(folder: Path) -> list[Path]:
    """All files below `folder` that should be images, sorted: neither hidden nor of a text format."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in NOT_IMAGES
        and path.name != "Thumbs.db"
    )  # fmt: skip


def read_images(paths: list[Path], image_size: int | None, *, where: Path) -> np.ndarray:
    """Decode into (N, H, W, 1 or 3) uint8: one channel where every file is grey, else three.

    `image_size` None demands equal sizes; a number resizes to squares of that side, antialiased, aspect not kept.
    """
    headers = [_header(path) for path in paths]
    sizes = sorted({size for size, _ in headers})
    channels = 1 if all(grey for _, grey in headers) else 3
    if image_size is None and len(sizes) > 1:
        odd = next(i for i, (size, _) in enumerate(headers) if size != headers[0][0])
        (w0, h0), (w1, h1) = headers[0][0], headers[odd][0]
        raise DataError(
            f"images under {where} have {len(sizes)} different sizes ({paths[0].name} is {w0}x{h0}, "
            f"{paths[odd].name} {w1}x{h1}): give them one size, or set data.image_size (32, say) to have them resized"
        )
    width, height = (image_size, image_size) if image_size is not None else sizes[0]
    if len(paths) * width * height * channels > MAX_BYTES:
        raise DataError(
            f"{len(paths)} images of {width}x{height} under {where} take more than {MAX_BYTES >> 30} GiB of memory: "
            "set data.image_size (32, say) to have them resized"
        )
    images = np.empty((len(paths), height, width, channels), np.uint8)
    for index, path in enumerate(paths):
        images[index] = _decode(path, channels, (width, height))
    return images


def _header(path: Path) -> tuple[tuple[int, int], bool]:
    """(width, height) as displayed, and whether the file is grey."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 lie on their side
            return ((height, width) if turned else (width, height)), image.mode in GREY_MODES
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error


def _decode(path: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("I", "I;16", "F"):  # 16 bit and float: the range used becomes 0..255
                values = np.asarray(upright, dtype=np.float64)
                scale = 257.0 if upright.mode == "I;16" else max(float(values.max()) / 255.0, 1e-12)
                upright = Image.fromarray((values / scale).clip(0.0, 255.0).astype(np.uint8))
            pixels = upright.convert("L" if channels == 1 else "RGB")
            if pixels.size != size:
                pixels = pixels.resize(size, Image.Resampling.LANCZOS)
            return np.asarray(pixels).reshape(size[1], size[0], channels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
