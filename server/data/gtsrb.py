"""GTSRB, German traffic signs (Stallkamp et al. 2012): 43 classes, about 30 near-identical frames of each track.

Frames of one track on both sides of a cut would be leakage, so tracks are the groups that no split tears apart.
No licence statement was found for it: none of it ships.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from server.data.dataset import Dataset, cut_public_private
from server.data.pictures import image_files, read_images
from server.errors import DataError

N_CLASSES = 43
MOSAIC_COLUMNS = 100
MOSAIC_SIDE = 32
MOSAIC_COUNTS = {"train0": 10_000, "train1": 10_000, "train2": 10_000, "train3": 9_209, "test": 12_630}
TEST_FRACTION = 0.2


def load(folder: Path, *, image_size: int | None = None, seed: int = 0) -> Dataset:
    """Images of 32x32x3 (or `image_size`) with a group per track, from one of:

    - mosaics: gtsrb_labels.npz (y_train, y_test, track_train) and gtsrb_{train0..3,test}.webp, 100 images a row;
    - the original layout: Final_Training/Images/CLASS/TRACK_FRAME.ppm, and Final_Test/Images with GT-final_test.csv;
    - CLASS/TRACK_FRAME.* alone: a fifth of each class's tracks becomes the test set, cut by `seed`.
    """
    if (folder / "gtsrb_labels.npz").is_file():
        return _from_mosaics(folder)
    size = image_size or MOSAIC_SIDE
    train = next((p for p in (folder / "Final_Training" / "Images", folder / "train") if p.is_dir()), folder)
    classes = sorted(p for p in train.iterdir() if p.is_dir() and p.name.isdigit()) if train.is_dir() else []
    if not classes:
        raise DataError(
            f"{folder} holds neither the GTSRB mosaics (gtsrb_labels.npz) nor numbered class folders of "
            "TRACK_FRAME files"
        )
    paths = [path for own in classes for path in image_files(own)]
    labels = np.array([int(path.parent.name) for path in paths], dtype=np.int64)
    names = [f"{path.parent.name}/{_track(path)}" for path in paths]
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    images = read_images(paths, size, where=train)
    class_names = tuple(str(c) for c in range(max(N_CLASSES, int(labels.max()) + 1)))
    answers = folder / "Final_Test" / "Images" / "GT-final_test.csv"
    if answers.is_file():
        with answers.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        x_test = read_images([answers.parent / row["Filename"] for row in rows], size, where=answers.parent)
        y_test = np.array([int(row["ClassId"]) for row in rows], dtype=np.int64)
        return Dataset("gtsrb", images, labels, x_test, y_test, class_names, groups)
    cut = cut_public_private(labels, public_fraction=TEST_FRACTION, seed=seed, groups=groups)
    test, own = cut.public, cut.private
    return Dataset("gtsrb", images[own], labels[own], images[test], labels[test], class_names, groups[own])


def _track(path: Path) -> str:
    track, _, frame = path.stem.partition("_")
    if not frame:
        raise DataError(f"{path} is not named TRACK_FRAME: without tracks GTSRB cannot be split honestly")
    return track


def _from_mosaics(folder: Path) -> Dataset:
    parts = {name: _mosaic(folder / f"gtsrb_{name}.webp", n) for name, n in MOSAIC_COUNTS.items()}
    with np.load(folder / "gtsrb_labels.npz", allow_pickle=False) as labels:
        y_train, y_test = labels["y_train"].astype(np.int64), labels["y_test"].astype(np.int64)
        # Tracks are numbered within a class.
        groups = np.unique(y_train * 1000 + labels["track_train"], return_inverse=True)[1].astype(np.int64)
    x_train = np.concatenate([parts[name] for name in MOSAIC_COUNTS if name != "test"])
    class_names = tuple(str(c) for c in range(N_CLASSES))
    return Dataset("gtsrb", x_train, y_train, parts["test"], y_test, class_names, groups)


def _mosaic(path: Path, n_images: int) -> np.ndarray:
    """One image of 100 columns, row-major -> (n_images, 32, 32, 3) uint8."""
    side = MOSAIC_SIDE
    try:
        with Image.open(path) as image:
            grid = np.asarray(image.convert("RGB"))
        rows = grid.shape[0] // side
        cells = grid.reshape(rows, side, MOSAIC_COLUMNS, side, 3).transpose(0, 2, 1, 3, 4)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a GTSRB mosaic: {error}") from error
    if rows * MOSAIC_COLUMNS < n_images:
        raise DataError(f"{path} holds {rows * MOSAIC_COLUMNS} images, expected {n_images}")
    return cells.reshape(-1, side, side, 3)[:n_images]
