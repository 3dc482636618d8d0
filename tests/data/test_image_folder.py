"""Folders of images as a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.data.load import load_dataset
from server.errors import DataError
from tests.data.paint import paint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five and ten grey images, 12 wide and 10 high, each of its own tone."""
    for index in range(5):
        paint(tmp_path / "mine" / "cat" / f"{index}.png", index)
    for index in range(10):
        paint(tmp_path / "mine" / "dog" / f"{index}.png", 100 + index)
    (tmp_path / "mine" / "dog" / "readme.txt").write_text("not an image")
    (tmp_path / "mine" / ".cache").mkdir()
    return tmp_path / "mine"


def test_a_folder_is_cut_class_by_class_and_by_the_seed(folder: Path) -> None:
    data = load_dataset("mine", base=folder.parent)
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (10, 12, 1)
    assert np.bincount(data.y_test).tolist() == [1, 2]
    tones = np.concatenate([data.x_train, data.x_test])[:, 0, 0, 0]
    assert sorted(tones.tolist()) == [*range(5), *range(100, 110)]
    assert ((data.x_train[:, 0, 0, 0] >= 100) == (data.y_train == 1)).all()
    again, other = load_dataset(str(folder)), load_dataset(str(folder), seed=3)
    assert np.array_equal(data.x_test, again.x_test)
    assert not np.array_equal(data.x_test, other.x_test)


def test_train_and_test_folders_are_kept_as_they_come(tmp_path: Path) -> None:
    for part, n in (("train", 3), ("test", 1)):
        for name, value in (("a", 10), ("b", 20)):
            for index in range(n):
                paint(tmp_path / part / name / f"{index}.png", value + index, mode="RGB")
    data = load_dataset(str(tmp_path))
    assert (len(data.x_train), len(data.x_test)) == (6, 2)
    assert data.x_train[data.y_train == 1][0, 0, 0].tolist() == [20, 0, 235]
    paint(tmp_path / "test" / "c" / "0.png", 0)
    with pytest.raises(DataError, match="'c' is in only one of"):
        load_dataset(str(tmp_path))


def test_one_colour_image_makes_all_three_channels(folder: Path) -> None:
    paint(folder / "cat" / "colour.png", 7, mode="RGB")
    assert load_dataset(str(folder)).image_shape == (10, 12, 3)


def test_mixed_sizes_are_one_sentence_with_the_way_out(folder: Path) -> None:
    paint(folder / "dog" / "wide.png", 50, size=(40, 10))
    with pytest.raises(DataError, match=r"2 different sizes \(0.png is 12x10, wide.png 40x10\).*image_size"):
        load_dataset(str(folder))
    assert load_dataset(str(folder), image_size=16).image_shape == (16, 16, 1)


def test_resizing_averages_instead_of_skipping_pixels(folder: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200
    for name in ("cat", "dog"):
        for index in range(2):
            Image.fromarray(stripes).save(folder / name / f"s{index}.png")
    data = load_dataset(str(folder), image_size=8)
    both = np.concatenate([data.x_train, data.x_test])
    stripe_images = both[both[:, 4, 4, 0] > 110]
    assert len(stripe_images) == 0
    assert (np.abs(both[:, 4, 4, 0].astype(int) - 100) <= 3).sum() >= 4


def test_a_16_bit_image_keeps_its_tones(folder: Path) -> None:
    Image.fromarray(np.full((10, 12), 257 * 77, np.uint16)).save(folder / "cat" / "deep.png")
    data = load_dataset(str(folder))
    assert 77 in np.concatenate([data.x_train, data.x_test])[:, 0, 0, 0]


def test_broken_folders_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "dog" / "torn.png").write_bytes((folder / "dog" / "1.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"torn.png cannot be read as an image"):
        load_dataset(str(folder))
    (folder / "dog" / "torn.png").unlink()
    (folder / "emu").mkdir()
    with pytest.raises(DataError, match=r"class folder .*emu has no image"):
        load_dataset(str(folder))
    paint(folder / "emu" / "one.png", 3)
    with pytest.raises(DataError, match=r"emu has a single image"):
        load_dataset(str(folder))
    (tmp_path / "outer").mkdir()
    folder.rename(tmp_path / "outer" / "mine")
    with pytest.raises(DataError, match="there is only 'mine'"):
        load_dataset(str(tmp_path / "outer"))
