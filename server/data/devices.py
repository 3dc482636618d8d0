"""A virtual device's data as a file: what a real device would already have. The client reads it without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.data.dataset import Dataset


def write_device(path: Path, x: np.ndarray, y: np.ndarray, n_classes: int) -> None:
    """Write `x` (N, H, W, C) uint8, `y` (N,) int64 and `n_classes` as an npz, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".partial")
    with fresh.open("wb") as file:
        np.savez_compressed(file, x=x, y=y.astype(np.int64), n_classes=np.int64(n_classes))
    fresh.replace(path)


def write_devices(folder: Path, dataset: Dataset, parts: dict[str, np.ndarray]) -> None:
    """One file `folder`/ID.npz per device; `parts` maps device ids to indices into the training set."""
    for device, indices in parts.items():
        write_device(folder / f"{device}.npz", dataset.x_train[indices], dataset.y_train[indices], dataset.n_classes)
