"""The device's data, and the order of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.errors import DataError
from edge_client.training import data
from tests.edge_client.samples import save

# ---- data --------------------------------------------------------------------------------------------------------


def test_samples_are_read(tmp_path: Path) -> None:
    x = np.zeros((3, 4, 5, 1), np.uint8)
    found = data.load(save(tmp_path / "d.npz", x=x, y=np.array([0, 2, 2], np.uint8), n_classes=4))
    assert found.image_shape == (4, 5, 1)
    assert found.label_counts == (1, 0, 2, 0)
    assert found.labels.dtype == np.int64


def test_what_is_wrong_with_the_samples_is_said(tmp_path: Path) -> None:
    x, y = np.zeros((2, 4, 5, 1), np.uint8), np.array([0, 1])
    path = tmp_path / "d.npz"
    with pytest.raises(DataError, match="no such file; give this device's samples with --data"):
        data.load(path)
    path.write_bytes(b"not an npz")
    with pytest.raises(DataError, match="no npz file"):
        data.load(path)
    np.save(tmp_path / "d.npy", x)
    with pytest.raises(DataError, match="no npz file"):
        data.load(tmp_path / "d.npy")
    for arrays, why in (
        ({"x": x}, "n_classes, y missing"),
        ({"x": x[0], "y": y, "n_classes": 2}, "x must be uint8 of shape"),
        ({"x": x.astype(float), "y": y, "n_classes": 2}, "x must be uint8"),
        ({"x": np.zeros((2, 4, 5, 2), np.uint8), "y": y, "n_classes": 2}, "1 or 3"),
        ({"x": x[:0], "y": y[:0], "n_classes": 2}, "there is no sample"),
        ({"x": x, "y": y[:1], "n_classes": 2}, "y must be 2 whole numbers"),
        ({"x": x, "y": y.astype(float), "n_classes": 2}, "y must be 2 whole numbers"),
        ({"x": x, "y": y, "n_classes": 1}, "n_classes must be one whole number"),
        ({"x": x, "y": y, "n_classes": [2, 3]}, "n_classes must be one whole number"),
        ({"x": x, "y": y + 1, "n_classes": 2}, "labels run from 1 to 2, expected 0 to 1"),
        ({"x": x, "y": y - 1, "n_classes": 2}, "labels run from -1 to 0"),
        ({"x": np.array([None]), "y": y, "n_classes": 2}, "no npz file"),
    ):
        with pytest.raises(DataError, match=why):
            data.load(save(path, **arrays))


# ---- order -------------------------------------------------------------------------------------------------------


def test_batches_by_hand() -> None:
    found = data.batches(5, 2, 2, seed=1)
    assert [len(batch) for batch in found] == [2, 2, 1, 2, 2, 1]
    for epoch in (found[:3], found[3:]):
        assert sorted(np.concatenate(epoch).tolist()) == [0, 1, 2, 3, 4]
    again = data.batches(5, 2, 2, seed=1)
    assert all((a == b).all() for a, b in zip(found, again, strict=True))
    orders = [np.concatenate(data.batches(100, 1, 8, seed)).tolist() for seed in range(3)]
    assert orders[0] != orders[1] != orders[2]
    assert found[0].dtype == np.int32


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 9), st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_segments_share_out_all_batches_in_order(n: int, epochs: int, size: int, wanted: list[int]) -> None:
    order = data.batches(n, epochs, size, seed=7)
    total = n * epochs
    wanted = [*wanted[:-1], max(0, total - sum(wanted[:-1]))]
    dealt = data.assign(order, wanted)
    flat = [batch for segment in dealt for batch in segment]
    assert len(flat) == len(order)
    assert all(a is b for a, b in zip(flat, order, strict=True))
    if sum(wanted) == total:
        done = 0
        for segment, end in zip(dealt, np.cumsum(wanted), strict=True):
            done += sum(len(batch) for batch in segment)
            assert abs(done - end) <= size / 2


def test_segments_end_at_the_nearest_border() -> None:
    order = [np.zeros(4)] * 5
    assert [len(s) for s in data.assign(order, [5, 15])] == [1, 4]
    assert [len(s) for s in data.assign(order, [7, 13])] == [2, 3]
    assert [len(s) for s in data.assign(order, [6, 14])] == [1, 4]
    assert [len(s) for s in data.assign(order, [1, 0, 19])] == [0, 0, 5]
    assert data.assign([], [0]) == [[]]
