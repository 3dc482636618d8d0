"""A virtual device's data as a file: what a real device would already have. The client reads it without torch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from server.files import write_atomic


def write_device(path: Path, x: np.ndarray, y: np.ndarray, n_classes: int) -> None:
    """Write `x` (N, H, W, C) uint8, `y` (N,) int64 and `n_classes` as an npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=x, y=y.astype(np.int64), n_classes=np.int64(n_classes))
    write_atomic(path, buffer.getvalue())
