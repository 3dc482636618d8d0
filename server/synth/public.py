"""The public part of a data set: all that a generator may see. Also as small files, for a machine that has a GPU.

A folder of public.json (what it was cut from, and the digest of its images), labels.npz and mosaics of as many images
as `grid_of` says, lossless WebP: CIFAR-10's 25,000 public images are some 45 MB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from server.data.dataset import Dataset, images_digest
from server.data.tiles import tile, untile
from server.errors import DataError
from server.files import write_atomic
from server.synth.mosaic import read_picture, webp_bytes

FORMAT = "fimi-public-1"
COLUMNS, ROWS = 50, 100
LONGEST, MOST_PIXELS = 16_383, 80_000_000
"""Of a WebP's sides, and of what Pillow opens without a warning."""


@dataclass(frozen=True)
class PublicPart:
    """Images (N, H, W, C) uint8 with labels (N,) int64; what they were cut from, by which fraction and seed."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    public_fraction: float
    split_seed: int

    def __post_init__(self) -> None:
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        if (counts == 0).any():
            lacking = ", ".join(self.class_names[i] for i in np.flatnonzero(counts == 0))
            raise DataError(
                f"{self.name}: no public image of the class {lacking}: a generator cannot learn what it never sees; "
                "raise data.public_fraction, or leave the class out of the data set"
            )

    @property
    def facts(self) -> dict[str, Any]:
        """The part "data" of a generator's card."""
        return {
            "name": self.name,
            "images": len(self.labels),
            "digest": images_digest(self.images, self.labels),
            "public_fraction": self.public_fraction,
            "split_seed": self.split_seed,
            "class_names": list(self.class_names),
        }


def public_indices(dataset: Dataset, public_fraction: float, split_seed: int) -> np.ndarray:
    """Indices of the training images that belong to the server."""
    return dataset.cut(public_fraction, split_seed).public


def public_part(dataset: Dataset, public_fraction: float, split_seed: int) -> PublicPart:
    """Cut it; raises DataError where a class has no public image."""
    cut = public_indices(dataset, public_fraction, split_seed)
    return PublicPart(
        dataset.name, dataset.x_train[cut], dataset.y_train[cut], dataset.class_names, public_fraction, split_seed
    )


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Images in a row of a mosaic, and in all of it; raises DataError where one alone is too large."""
    columns = min(COLUMNS, LONGEST // width)
    rows = min(ROWS, LONGEST // height, MOST_PIXELS // max(1, columns * width * height))
    if not columns or not rows:
        raise DataError(f"images of {width}x{height} are too large to be packed: set data.image_size")
    return columns, columns * rows


def write_public(folder: Path, part: PublicPart) -> int:
    """Write the folder; returns its bytes."""
    columns, each = grid_of(*part.images.shape[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(part.images), each)):
        grid = tile(part.images[start : start + each], columns)
        write_atomic(folder / f"images-{number:02d}.webp", webp_bytes(grid))
    np.savez_compressed(folder / "labels.npz", y=part.labels, shape=np.array(part.images.shape))
    index = json.dumps({"format": FORMAT, **part.facts}, indent=1) + "\n"
    write_atomic(folder / "public.json", index.encode())  # last: a folder without it is not whole
    return sum(path.stat().st_size for path in folder.iterdir())


def read_public(folder: Path) -> PublicPart:
    """Read what `write_public` wrote; raises DataError where files are missing or the images are other ones."""
    index = folder / "public.json"
    try:
        facts = json.loads(index.read_text())
        if facts["format"] != FORMAT:
            raise DataError(f"{index} is {facts['format']!r}, expected {FORMAT!r}")
        part = _read_part(folder, facts)
        if part.facts["digest"] != facts["digest"]:
            raise DataError(f"{folder}: the images are not those that {index.name} speaks of; pack them again")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing; make the folder with: fimi-server pack-public") from None
    except (ValueError, LookupError, TypeError, OSError, EOFError, BadZipFile) as error:
        raise DataError(f"{folder} is no folder of fimi-server pack-public: {error}") from error
    return part


def _read_part(folder: Path, facts: Mapping[str, Any]) -> PublicPart:
    with (folder / "labels.npz").open("rb") as file, np.load(file, allow_pickle=False) as held:
        labels, (n, *one) = held["y"], (int(own) for own in held["shape"])
    height, width, channels = one
    _, each = grid_of(height, width)
    parts = []
    for number, start in enumerate(range(0, n, each)):
        grid = read_picture(folder / f"images-{number:02d}.webp", channels)
        parts.append(untile(grid, min(each, n - start), (height, width, channels)))
    names, fraction, seed = tuple(facts["class_names"]), facts["public_fraction"], facts["split_seed"]
    return PublicPart(facts["name"], np.concatenate(parts), labels, names, fraction, seed)
