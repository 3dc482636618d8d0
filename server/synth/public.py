"""The public part of a data set: all that a generator may see. Also as small files, for a machine that has a GPU.

A folder of public.json (what it was cut from, and the digest of its images), labels.npz and mosaics of at most
`MOSAIC` images, lossless WebP: CIFAR-10's 25,000 public images are some 45 MB.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from server.data.dataset import Dataset, cut_public_private, images_digest
from server.data.tiles import tile, untile
from server.errors import DataError
from server.files import write_atomic
from server.synth.mosaic import read_picture, webp_bytes

FORMAT = "fimi-public-1"
MOSAIC = 5000
COLUMNS = 50


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
    return cut_public_private(
        dataset.y_train, public_fraction=public_fraction, seed=split_seed, groups=dataset.groups_train
    ).public


def public_part(dataset: Dataset, public_fraction: float, split_seed: int) -> PublicPart:
    """Cut it; raises DataError where a class has no public image."""
    cut = public_indices(dataset, public_fraction, split_seed)
    return PublicPart(
        dataset.name, dataset.x_train[cut], dataset.y_train[cut], dataset.class_names, public_fraction, split_seed
    )


def write_public(folder: Path, part: PublicPart) -> int:
    """Write the folder; returns its bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(part.images), MOSAIC)):
        grid = tile(part.images[start : start + MOSAIC], COLUMNS)
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
        held = np.load(folder / "labels.npz", allow_pickle=False)
        labels, shape = held["y"], tuple(int(n) for n in held["shape"])
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing; make the folder with: fimi-server pack-public") from None
    except (ValueError, KeyError, OSError) as error:
        raise DataError(f"{folder} is no folder of fimi-server pack-public: {error}") from error
    if facts.get("format") != FORMAT:
        raise DataError(f"{index} is {facts.get('format')!r}, expected {FORMAT!r}")
    parts = []
    for number, start in enumerate(range(0, shape[0], MOSAIC)):
        grid = read_picture(folder / f"images-{number:02d}.webp", shape[3])
        parts.append(untile(grid, min(MOSAIC, shape[0] - start), (shape[1], shape[2], shape[3])))
    part = PublicPart(
        facts["name"],
        np.concatenate(parts),
        labels,
        tuple(facts["class_names"]),
        facts["public_fraction"],
        facts["split_seed"],
    )
    if part.facts["digest"] != facts["digest"]:
        raise DataError(f"{folder}: the images are not those that {index.name} speaks of; pack them again")
    return part
