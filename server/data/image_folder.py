"""Anyone's own data: a folder with a sub-folder of images per class, with its own test set or with one cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.data.dataset import Dataset, cut_public_private
from server.data.pictures import image_files, read_images
from server.errors import DataError

TEST_FRACTION = 0.2


def load(folder: Path, *, image_size: int | None = None, seed: int = 0) -> Dataset:
    """FOLDER/train/CLASS/* and FOLDER/test/CLASS/*, or FOLDER/CLASS/* (a fifth of each class becomes the test set).

    Classes are numbered in the order of their sorted names. `seed` decides the cut; `image_size` see `read_images`.
    """
    train, test = folder / "train", folder / "test"
    if train.is_dir() and test.is_dir():
        names = _class_names(train)
        only = sorted(set(names) ^ set(_class_names(test)))
        if only:
            raise DataError(f"class folder {only[0]!r} is in only one of {train} and {test}")
        files = [_class_files(part / name) for part in (train, test) for name in names]
        labels = np.repeat(np.tile(np.arange(len(names)), 2), [len(own) for own in files])
        in_train = np.arange(len(labels)) < sum(len(own) for own in files[: len(names)])
    else:
        root = train if train.is_dir() else folder
        names = _class_names(root)
        files = [_class_files(root / name) for name in names]
        for name, own in zip(names, files, strict=True):
            if len(own) < 2:
                raise DataError(f"class folder {root / name} has a single image: none is left to test with")
        labels = np.repeat(np.arange(len(names)), [len(own) for own in files])
        in_train = np.ones(len(labels), dtype=bool)
        in_train[cut_public_private(labels, public_fraction=TEST_FRACTION, seed=seed).public] = False
    images = read_images([path for own in files for path in own], image_size, where=folder)
    labels = labels.astype(np.int64)
    return Dataset(
        folder.name, images[in_train], labels[in_train], images[~in_train], labels[~in_train], tuple(names)
    )  # fmt: skip


def _class_names(root: Path) -> list[str]:
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise DataError(f"{root} needs a sub-folder of images for each of two or more classes; there is {found}")
    return names


def _class_files(folder: Path) -> list[Path]:
    files = image_files(folder)
    if not files:
        raise DataError(f"class folder {folder} has no image: remove it or put images in")
    return files
