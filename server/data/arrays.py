"""Anyone's own data as one .npz: x_train, y_train, x_test, y_test, and optionally class_names and groups_train."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from server.data.dataset import Dataset
from server.errors import DataError

NEEDED = ("x_train", "y_train", "x_test", "y_test")


def load(path: Path) -> Dataset:
    """Images uint8 (N, H, W) or (N, H, W, 1 or 3), labels whole numbers 0..C-1 without gaps. Nothing is unpickled."""
    arrays = read_npz(path, NEEDED, ("class_names", "groups_train"))
    x_train, x_test = (_images(arrays[name], name, path) for name in ("x_train", "x_test"))
    y_train, y_test = (_labels(arrays[name], name, path) for name in ("y_train", "y_test"))
    if not len(y_train) or not len(y_test):
        raise DataError(f"{path}: y_train has {len(y_train)} labels and y_test {len(y_test)}; both need some")
    n_classes = int(max(y_train.max(), y_test.max())) + 1
    present = np.unique(y_train[y_train >= 0])  # never an array of n_classes before they are known to be few
    gaps = np.flatnonzero(present != np.arange(len(present)))
    absent = int(gaps[0]) if len(gaps) else len(present)
    if absent < n_classes:
        raise DataError(f"{path}: class {absent} has no training image; labels run from 0 without gaps")
    names = tuple(str(name) for name in arrays.get("class_names", np.arange(n_classes)))
    if len(names) != n_classes:
        raise DataError(f"{path}: class_names holds {len(names)} names, the labels {n_classes} classes")
    groups = arrays.get("groups_train")
    if groups is not None:
        if groups.shape != y_train.shape:
            raise DataError(f"{path}: groups_train has shape {groups.shape}, y_train {y_train.shape}")
        groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return Dataset(path.stem, x_train, y_train, x_test, y_test, names, groups)


def read_npz(path: Path, needed: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The arrays of these names, `more` where they are there; raises DataError. Nothing is unpickled."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*needed, *more) if name in file}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not an .npz of plain arrays: {error}") from error
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(f"{path} has no array {missing[0]}; it needs {', '.join(needed)}")
    return arrays


def _images(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    if array.dtype != np.uint8:
        raise DataError(f"{path}: {name} is {array.dtype}; images must be uint8, 0 to 255")
    return array[..., None] if array.ndim == 3 else array


def _labels(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{path}: {name} is {array.dtype}; labels must be whole numbers from 0")
    return (array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array).astype(np.int64)
