"""Fashion-MNIST (Zalando Research, MIT licence): the packed subset that ships with the source, and the full set."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from server.data.dataset import Dataset
from server.data.tiles import tile, untile
from server.errors import DataError

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SIDE = 28
COLUMNS = 100
EMBEDDED = Path(__file__).resolve().parents[1] / "assets" / "fashion-mnist"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FROM_A_CLONE = "it comes with the source tree, not with the wheel: from a clone, pip install -e '.[server]'"


def load_embedded(folder: Path = EMBEDDED) -> Dataset:
    """The packed subset: 27,000 training and all 10,000 test images, as two PNG mosaics and their labels."""
    if not (folder / "labels.npz").exists():
        raise DataError(
            f"the embedded Fashion-MNIST is not at {folder}; {FROM_A_CLONE}; or set data.source to your own data"
        )
    labels = np.load(folder / "labels.npz", allow_pickle=False)
    grids = {part: np.asarray(Image.open(folder / f"{part}.png"))[..., None] for part in ("train", "test")}
    x = {part: untile(grid, len(labels[f"y_{part}"]), (SIDE, SIDE, 1)) for part, grid in grids.items()}
    return Dataset(
        name="fashion-mnist",
        x_train=x["train"],
        y_train=labels["y_train"].astype(np.int64),
        x_test=x["test"],
        y_test=labels["y_test"].astype(np.int64),
        class_names=CLASS_NAMES,
    )


def _read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes (format: the MNIST pages), gzipped, as an array of its own shape."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist; install Debian's dataset-fashion-mnist or give the folder of the four files"
        ) from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} is not a complete gzip file: {error}") from error
    if raw[:3] != b"\0\0\x08":
        raise DataError(f"{path} is not an IDX file of unsigned bytes")
    n_dims = raw[3]
    shape = np.frombuffer(raw, dtype=">u4", count=n_dims, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * n_dims).reshape(shape)


def load_full(folder: Path = DEBIAN) -> Dataset:
    """All 60,000 + 10,000 images from the four original files (Debian: package dataset-fashion-mnist)."""
    x, y = {}, {}
    for part, stem in (("train", "train"), ("test", "t10k")):
        x[part] = _read_idx(folder / f"{stem}-images-idx3-ubyte.gz")[..., None]
        y[part] = _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz").astype(np.int64)
    return Dataset("fashion-mnist-full", x["train"], y["train"], x["test"], y["test"], CLASS_NAMES)


def pack(full: Dataset, folder: Path, *, n_train: int = 27_000) -> None:
    """Write the embedded subset: the first `n_train` training images and the whole test set, COLUMNS a row."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in (("train", full.x_train[:n_train]), ("test", full.x_test)):
        Image.fromarray(tile(images, COLUMNS)[..., 0]).save(folder / f"{part}.png", optimize=True)
    np.savez_compressed(
        folder / "labels.npz",
        y_train=full.y_train[:n_train].astype(np.uint8),
        y_test=full.y_test.astype(np.uint8),
    )
