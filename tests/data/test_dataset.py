from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from server.data.dataset import Dataset, cut_public_private
from server.data.fashion_mnist import CLASS_NAMES, load_embedded, pack
from server.errors import DataError


@settings(deadline=None, max_examples=50)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32),
)
def test_public_and_private_never_share_an_index(labels: np.ndarray, fraction: float, seed: int) -> None:
    counts = np.bincount(labels)
    if (counts == 1).any():
        with pytest.raises(DataError, match="single sample"):
            cut_public_private(labels, public_fraction=fraction, seed=seed)
        return
    cut = cut_public_private(labels, public_fraction=fraction, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([cut.public, cut.private])), np.arange(len(labels)))
    assert set(labels[cut.public]) == set(labels[cut.private]) == set(labels)


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_no_group_is_on_both_sides(seed: int) -> None:
    labels = np.repeat(np.arange(3), 40)
    groups = np.arange(120) // 8
    cut = cut_public_private(labels, public_fraction=0.4, seed=seed, groups=groups)
    assert not set(groups[cut.public]) & set(groups[cut.private])


def test_a_class_that_cannot_be_cut_is_named() -> None:
    x, y = np.zeros((5, 4, 4, 1), np.uint8), np.array([0, 0, 1, 2, 2])
    with pytest.raises(DataError, match="class dog has a single sample or group"):
        Dataset("pets", x, y, x, y, ("cat", "dog", "newt")).cut(0.5, 0)


def test_the_devices_of_the_embedded_set_share_no_image_with_the_server() -> None:
    data = load_embedded()
    cut = cut_public_private(data.y_train, public_fraction=0.5, seed=0)
    names = [hashlib.sha256(image.tobytes()).digest() for image in data.x_train]
    public, private = ({names[i] for i in part} for part in (cut.public, cut.private))
    test = {hashlib.sha256(image.tobytes()).digest() for image in data.x_test}
    # The embedded set has no image twice, so content disproves overlap as surely as indices do.
    assert (len(public), len(private), len(test)) == (len(cut.public), len(cut.private), 10_000)
    assert not public & private
    assert not (public | private) & test


def test_the_embedded_set_is_what_was_packed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (230, 28, 28, 1), dtype=np.uint8), rng.integers(0, 10, 230)
    pack(Dataset("full", x, y, x[:50], y[:50], CLASS_NAMES), tmp_path, n_train=210)
    data = load_embedded(tmp_path)
    assert np.array_equal(data.x_train, x[:210])
    assert np.array_equal(data.x_test, x[:50])
    assert (data.y_train.tolist(), data.y_test.tolist()) == (y[:210].tolist(), y[:50].tolist())
    with Image.open(tmp_path / "train.png") as mosaic:
        assert np.array_equal(np.asarray(mosaic)[28:56, 28:56], x[101, ..., 0])
