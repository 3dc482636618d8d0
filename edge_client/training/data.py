"""The device's own samples from a file, and the order in which a task trains them. The order is pure.

A batch never spans two epochs, and a segment ends on the border of a batch that is nearest to its sample count: so the
same seed trains the same batches however the plan cuts them into segments.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_client.errors import DataError


@dataclass(frozen=True)
class LocalData:
    """Images (N, H, W, C) uint8 and labels (N,) int64 in 0..n_classes-1."""

    images: np.ndarray
    labels: np.ndarray
    n_classes: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.images.shape[1:]
        return int(height), int(width), int(channels)

    @property
    def label_counts(self) -> tuple[int, ...]:
        return tuple(int(n) for n in np.bincount(self.labels, minlength=self.n_classes))


def load(path: Path) -> LocalData:
    """Read an npz with x (N, H, W, C) uint8, y (N,) and n_classes; raises DataError in one sentence."""
    try:
        with zipfile.ZipFile(path):  # an npz is a zip of arrays; np.load would take a bare array as well
            pass
        with np.load(path, allow_pickle=False) as file:
            missing = {"x", "y", "n_classes"} - set(file.files)
            if missing:
                raise DataError(f"{path}: {', '.join(sorted(missing))} missing; it must hold x, y and n_classes")
            images, labels, n_classes = file["x"], file["y"], file["n_classes"]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give this device's samples with --data") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: this is no npz file of arrays: {error}") from error
    return check(str(path), images, labels, n_classes)


def check(name: str, images: np.ndarray, labels: np.ndarray, n_classes: np.ndarray) -> LocalData:
    """The arrays as `LocalData`; raises DataError where they are anything else."""
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] not in (1, 3):
        raise DataError(f"{name}: x must be uint8 of shape (N, H, W, 1 or 3), not {images.dtype} {images.shape}")
    if len(images) == 0:
        raise DataError(f"{name}: there is no sample; a device needs at least one")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{name}: y must be {len(images)} whole numbers, not {labels.dtype} {labels.shape}")
    if n_classes.shape != () or not np.issubdtype(n_classes.dtype, np.integer) or n_classes < 2:
        raise DataError(f"{name}: n_classes must be one whole number of 2 or more")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise DataError(f"{name}: labels run from {labels.min()} to {labels.max()}, expected 0 to {int(n_classes) - 1}")
    return LocalData(images, labels.astype(np.int64), int(n_classes))


def batches(n_samples: int, epochs: int, batch_size: int, seed: int) -> list[np.ndarray]:
    """Indices (int32) into the union of local and synthetic samples, batch by batch; each epoch in an order of its own.

    The last batch of an epoch may be short. The same arguments give the same batches everywhere.
    """
    found: list[np.ndarray] = []
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(n_samples).astype(np.int32)
        found += [order[start : start + batch_size] for start in range(0, n_samples, batch_size)]
    return found


def assign(all_batches: Sequence[np.ndarray], segment_samples: Sequence[int]) -> list[list[np.ndarray]]:
    """Deal the batches in order to the segments; the last segment takes what is left.

    A segment ends at the batch border nearest to the sum of samples up to its end (ties: the earlier border).
    """
    borders = np.cumsum([0, *(len(batch) for batch in all_batches)])
    ends = [int(np.argmin(np.abs(borders - wanted))) for wanted in np.cumsum(segment_samples)]
    ends[-1:] = [len(all_batches)]
    return [list(all_batches[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
