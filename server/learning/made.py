"""Synthetic samples as the measurements take them: arrays, and what names them, wherever they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from server.data.dataset import Dataset, images_digest
from server.errors import DataError
from server.learning.training import balanced_draw


@dataclass(frozen=True)
class Made:
    """Images (N, H, W, C) uint8 with labels (N,) int64; `facts` (JSON values) say what made them, and how."""

    images: np.ndarray
    labels: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def by_class(cls, images: Sequence[np.ndarray], facts: Mapping[str, Any]) -> Made:
        """From (n, H, W, C) of each class."""
        labels = np.repeat(np.arange(len(images)), [len(own) for own in images])
        return cls(np.concatenate(images), labels.astype(np.int64), facts)

    @cached_property
    def digest(self) -> str:
        """Of the very samples: measurements on others never count for these."""
        return images_digest(self.images, self.labels)

    def of_class(self, label: int) -> np.ndarray:
        return self.images[self.labels == label]

    def check_fits(self, dataset: Dataset) -> None:
        """Raise DataError unless these are images as the data set's, with at least one of each of its classes."""
        shape = self.images.shape[1:]
        if shape != dataset.image_shape or (len(self.labels) and self.labels.max() >= dataset.n_classes):
            raise DataError(
                f"the samples are {shape} in {self.labels.max(initial=-1) + 1} classes, {dataset.name} is "
                f"{dataset.image_shape} in {dataset.n_classes}"
            )
        lacking = np.flatnonzero(np.bincount(self.labels, minlength=dataset.n_classes) == 0)
        if len(lacking):
            raise DataError(
                f"there is no synthetic sample of the class {dataset.class_names[lacking[0]]}: make some with "
                "fimi-server synth-pool"
            )


def mixture(
    images: np.ndarray, labels: np.ndarray, made: Made, real: int, synthetic: int, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`real` of the images (N, H, W, C) with labels (N,), and `synthetic` of those made; classes as even as they allow.

    Nested by seed: more samples mean the same and others, which steadies a curve, and are the same beside whatever
    generator's, which sets generators apart.
    """
    own = balanced_draw(labels, real, np.random.default_rng((seed, 0)))
    added = balanced_draw(made.labels, synthetic, np.random.default_rng((seed, 1)))
    return (
        np.concatenate([images[own], made.images[added]]),
        np.concatenate([labels[own], made.labels[added]]).astype(np.int64),
    )
