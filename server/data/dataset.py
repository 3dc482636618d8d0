"""A labelled image data set in memory, and the cut into the server's public part and the devices' private part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """Images (N, H, W, C) uint8 with labels (N,) int64 in 0..n_classes-1.

    `groups_train` (N,) int64 names what must not be torn apart by a split (a GTSRB track); None where nothing must.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    groups_train: np.ndarray | None = None

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            if x.ndim != 4 or x.dtype != np.uint8 or x.shape[3] not in (1, 3):
                raise DataError(
                    f"{self.name}: {part} images must be uint8 of shape (N, H, W, 1 or 3), not {x.dtype} {x.shape}"
                )
            if y.shape != (len(x),):
                raise DataError(f"{self.name}: {len(x)} {part} images but labels of shape {y.shape}")
            if len(y) == 0:
                raise DataError(f"{self.name}: the {part} part has no image")
            if y.min() < 0 or y.max() >= self.n_classes:
                raise DataError(
                    f"{self.name}: {part} labels run from {y.min()} to {y.max()}, expected 0 to {self.n_classes - 1}"
                )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise DataError(
                f"{self.name}: training images are {self.x_train.shape[1:]}, test images {self.x_test.shape[1:]}"
            )

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.x_train.shape[1:]

    def cut(self, public_fraction: float, seed: int) -> Split:
        """The training images that are the server's, and those that are the devices': see `cut_public_private`."""
        return cut_public_private(
            self.y_train,
            public_fraction=public_fraction,
            seed=seed,
            groups=self.groups_train,
            class_names=self.class_names,
        )


@dataclass(frozen=True)
class Split:
    """Sorted indices into the training set: `public` (the server's) and `private` (the devices'), disjoint."""

    public: np.ndarray
    private: np.ndarray


def cut_public_private(
    labels: np.ndarray,
    *,
    public_fraction: float,
    seed: int,
    groups: np.ndarray | None = None,
    class_names: Sequence[str] = (),
) -> Split:
    """Cut a training set, class by class, into a public and a private part.

    Whole groups go to one side where `groups` is given; then the fraction is met as nearly as the groups allow.
    Every class keeps at least one unit (a sample, or a group) on each side; one that cannot is a DataError, by its name
    where `class_names` are given.
    """
    if not 0.0 < public_fraction < 1.0:
        raise DataError(f"public_fraction is {public_fraction}; it must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    units = np.arange(len(labels)) if groups is None else groups
    public = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        own = rng.permutation(np.unique(units[members]))
        if len(own) < 2:
            name = class_names[label] if len(class_names) else label
            raise DataError(f"class {name} has a single sample or group: it cannot be on both sides of the cut")
        n_public = min(max(round(public_fraction * len(own)), 1), len(own) - 1)
        public[members[np.isin(units[members], own[:n_public])]] = True
    return Split(public=np.flatnonzero(public), private=np.flatnonzero(~public))


def images_digest(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 over images and labels: names the exact data a model was trained on."""
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes())
    digest.update(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
    return digest.hexdigest()
