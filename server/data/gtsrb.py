"""GTSRB, German traffic signs (Stallkamp et al. 2012): 43 classes, about 30 near-identical frames of each track.

Frames of one track on both sides of a cut would be leakage, so tracks are the groups that no split tears apart.
No licence statement was found for it: none of it ships.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from server.data.arrays import read_npz
from server.data.dataset import Dataset, cut_public_private
from server.data.pictures import image_files, read_images
from server.data.tiles import untile
from server.errors import DataError

CLASS_NAMES = (
    "speed limit 20 km/h", "speed limit 30 km/h", "speed limit 50 km/h", "speed limit 60 km/h", "speed limit 70 km/h",
    "speed limit 80 km/h", "end of speed limit 80 km/h", "speed limit 100 km/h", "speed limit 120 km/h", "no passing",
    "no passing for vehicles over 3.5 t", "right of way at the next intersection", "priority road", "give way", "stop",
    "no vehicles", "no vehicles over 3.5 t", "no entry", "general danger", "bend to the left", "bend to the right",
    "double bend", "uneven road", "slippery road", "road narrows on the right", "road works", "traffic lights",
    "pedestrians", "children", "cyclists crossing", "ice or snow", "wild animals", "end of all limits",
    "turn right ahead", "turn left ahead", "straight ahead only", "straight ahead or right", "straight ahead or left",
    "keep right", "keep left", "roundabout", "end of no passing", "end of no passing for vehicles over 3.5 t",
)  # fmt: skip
"""What the 43 signs say: reports and prompts are for people."""

N_CLASSES = len(CLASS_NAMES)
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
    classes = sorted(p for p in train.iterdir() if p.is_dir() and p.name.isdecimal()) if train.is_dir() else []
    if not classes:
        raise DataError(
            f"{folder} holds neither the GTSRB mosaics (gtsrb_labels.npz) nor numbered class folders of "
            "TRACK_FRAME files"
        )
    paths = [path for own in classes for path in _class_files(own)]
    labels = np.array([int(path.parent.name) for path in paths], dtype=np.int64)
    tracks = [f"{path.parent.name}/{_track(path)}" for path in paths]
    groups = np.unique(tracks, return_inverse=True)[1].astype(np.int64)
    images = read_images(paths, size, where=train)
    answers = folder / "Final_Test" / "Images" / "GT-final_test.csv"
    if answers.is_file():
        names, y_test = _answers(answers)
        x_test = read_images([answers.parent / name for name in names], size, where=answers.parent)
        return Dataset("gtsrb", images, labels, x_test, y_test, CLASS_NAMES, groups)
    cut = cut_public_private(labels, public_fraction=TEST_FRACTION, seed=seed, groups=groups)
    test, own = cut.public, cut.private
    return Dataset("gtsrb", images[own], labels[own], images[test], labels[test], CLASS_NAMES, groups[own])


def _class_files(folder: Path) -> list[Path]:
    if int(folder.name) >= N_CLASSES:
        raise DataError(f"class folder {folder}: GTSRB has the classes 0 to {N_CLASSES - 1}")
    files = image_files(folder)
    if not files:
        raise DataError(f"class folder {folder} has no image: remove it or put images in")
    return files


def _answers(path: Path) -> tuple[list[str], np.ndarray]:
    """Names and labels (N,) int64 of the test images, from the columns Filename and ClassId."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise DataError(f"{path} lists no image")
    if not {"Filename", "ClassId"} <= rows[0].keys():
        raise DataError(f"{path} has no Filename and ClassId in its first line, with ; between the columns")
    for row in rows:
        known = (row["ClassId"] or "").isdecimal() and int(row["ClassId"]) < N_CLASSES
        if not known or not row["Filename"]:
            raise DataError(
                f"{path}: a line has Filename {row['Filename']!r} and ClassId {row['ClassId']!r}; it must have both, "
                f"classes from 0 to {N_CLASSES - 1}"
            )
    return [row["Filename"] for row in rows], np.array([int(row["ClassId"]) for row in rows], dtype=np.int64)


def _track(path: Path) -> str:
    track, _, frame = path.stem.partition("_")
    if not frame:
        raise DataError(f"{path} is not named TRACK_FRAME: without tracks GTSRB cannot be split honestly")
    return track


def _from_mosaics(folder: Path) -> Dataset:
    parts = {name: _mosaic(folder / f"gtsrb_{name}.webp", n) for name, n in MOSAIC_COUNTS.items()}
    file = folder / "gtsrb_labels.npz"
    labels = read_npz(file, ("y_train", "y_test", "track_train"))
    y_train, y_test, tracks = (labels[name].astype(np.int64) for name in ("y_train", "y_test", "track_train"))
    if tracks.shape != y_train.shape:
        raise DataError(f"{file}: track_train has shape {tracks.shape}, y_train {y_train.shape}")
    groups = np.unique(y_train * 1000 + tracks, return_inverse=True)[1].astype(np.int64)  # numbered within a class
    x_train = np.concatenate([parts[name] for name in MOSAIC_COUNTS if name != "test"])
    return Dataset("gtsrb", x_train, y_train, parts["test"], y_test, CLASS_NAMES, groups)


def _mosaic(path: Path, n_images: int) -> np.ndarray:
    """One image of 100 columns, row-major -> (n_images, 32, 32, 3) uint8."""
    try:
        with Image.open(path) as image:
            grid = np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a GTSRB mosaic: {error}") from error
    rows, width = grid.shape[0] // MOSAIC_SIDE, MOSAIC_COLUMNS * MOSAIC_SIDE
    if grid.shape[:2] != (rows * MOSAIC_SIDE, width):
        raise DataError(f"{path} is not a GTSRB mosaic: {grid.shape[1]}x{grid.shape[0]} pixels, not rows of {width}x32")
    if rows * MOSAIC_COLUMNS < n_images:
        raise DataError(f"{path} holds {rows * MOSAIC_COLUMNS} images, expected {n_images}")
    return untile(grid, n_images, (MOSAIC_SIDE, MOSAIC_SIDE, 3))
