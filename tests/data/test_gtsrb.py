"""GTSRB as its folders and as mosaics."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.data import gtsrb
from server.data.load import load_dataset
from server.data.tiles import tile
from server.errors import DataError
from tests.data.paint import paint


def gtsrb_folder(root: Path, n_tracks: int = 5) -> None:
    for label in (0, 14):
        for track in range(n_tracks):
            for frame in range(3):
                side = 20 + track
                paint(root / f"{label:05d}" / f"{track:05d}_{frame:05d}.ppm", 10 * track + label, (side, side), "RGB")
        (root / f"{label:05d}" / f"GT-{label:05d}.csv").write_text("Filename;Width\n")


def test_gtsrb_tracks_stay_on_one_side(tmp_path: Path) -> None:
    gtsrb_folder(tmp_path)
    data = load_dataset(f"gtsrb:{tmp_path}")
    assert data.image_shape == (32, 32, 3)
    assert data.n_classes == 43
    assert (len(data.x_train), len(data.x_test)) == (24, 6)
    tone = [{(int(y), int(x[0, 0, 0])) for x, y in zip(images, labels, strict=True)} for images, labels in (
        (data.x_train, data.y_train), (data.x_test, data.y_test))]  # fmt: skip
    assert not tone[0] & tone[1]
    assert data.groups_train is not None
    assert np.unique(data.groups_train, return_counts=True)[1].tolist() == [3] * 8


def test_gtsrb_with_its_own_test_set(tmp_path: Path) -> None:
    gtsrb_folder(tmp_path / "Final_Training" / "Images", n_tracks=2)
    answers = tmp_path / "Final_Test" / "Images"
    paint(answers / "00000.ppm", 9, (30, 20), "RGB")
    (answers / "GT-final_test.csv").write_text("Filename;Width;ClassId\n00000.ppm;30;14\n")
    data = load_dataset(f"gtsrb:{tmp_path}")
    assert (len(data.x_train), data.y_test.tolist()) == (12, [14])


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ("Filename,ClassId\n00000.ppm,14\n", "GT-final_test.csv has no Filename and ClassId in its first line"),
        ("Filename;ClassId\n00000.ppm;stop\n", "a line has Filename '00000.ppm' and ClassId 'stop'; .* 0 to 42"),
        ("Filename;ClassId\n00000.ppm;43\n", "Filename '00000.ppm' and ClassId '43'"),
        ("Filename;ClassId\n00000.ppm\n", "Filename '00000.ppm' and ClassId None"),
        ("ClassId;Filename\n14\n", "Filename None and ClassId '14'"),
        ("Filename;ClassId\n", "GT-final_test.csv lists no image"),
        ("\xff", "GT-final_test.csv"),
    ],
)
def test_broken_answers_of_gtsrb_are_one_sentence(tmp_path: Path, answers: str, words: str) -> None:
    gtsrb_folder(tmp_path / "Final_Training" / "Images", n_tracks=2)
    paint(tmp_path / "Final_Test" / "Images" / "00000.ppm", 9, (30, 20), "RGB")
    (tmp_path / "Final_Test" / "Images" / "GT-final_test.csv").write_text(answers, encoding="latin-1")
    with pytest.raises(DataError, match=words):
        load_dataset(f"gtsrb:{tmp_path}")


def test_empty_and_unknown_classes_of_gtsrb_are_named(tmp_path: Path) -> None:
    gtsrb_folder(tmp_path / "a")
    (tmp_path / "a" / "00007").mkdir()
    with pytest.raises(DataError, match="class folder .*00007 has no image: remove it or put images in"):
        load_dataset(f"gtsrb:{tmp_path}/a")
    gtsrb_folder(tmp_path / "b")
    (tmp_path / "b" / "00014").rename(tmp_path / "b" / "20240101")
    with pytest.raises(DataError, match="class folder .*20240101: GTSRB has the classes 0 to 42"):
        load_dataset(f"gtsrb:{tmp_path}/b")


def npz_of(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_gtsrb_mosaics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train0": 100, "train1": 40, "test": 7}
    monkeypatch.setattr(gtsrb, "MOSAIC_COUNTS", counts)
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (100, 32, 32, 3), dtype=np.uint8) for name in counts}
    for name, own in images.items():
        Image.fromarray(tile(own, 100)).save(tmp_path / f"gtsrb_{name}.webp", lossless=True)
    y_train = np.repeat([3, 5], 70).astype(np.uint8)
    np.savez(
        tmp_path / "gtsrb_labels.npz", y_train=y_train, y_test=np.full(7, 9), track_train=np.arange(140) % 70 // 35
    )
    data = load_dataset(f"gtsrb:{tmp_path}")
    assert np.array_equal(data.x_train, np.concatenate([images["train0"], images["train1"][:40]]))
    assert np.array_equal(data.x_test, images["test"][:7])
    assert data.groups_train is not None
    assert np.bincount(data.groups_train).tolist() == [35] * 4  # track 0 of class 3 is not track 0 of class 5
    good = (tmp_path / "gtsrb_labels.npz").read_bytes()
    for broken, words in (
        (b"PK\x03\x04 torn", "gtsrb_labels.npz is not an .npz of plain arrays"),
        (npz_of(y_train=y_train, y_test=np.full(7, 9)), "gtsrb_labels.npz has no array track_train"),
        (npz_of(y_train=y_train, y_test=np.full(7, 9), track_train=np.zeros(9)), "track_train has shape .9,., y_train"),
        (npz_of(y_train=y_train, y_test=np.full(7, 43), track_train=np.zeros(140)), "labels run from 43 to 43"),
    ):
        (tmp_path / "gtsrb_labels.npz").write_bytes(broken)
        with pytest.raises(DataError, match=words):
            load_dataset(f"gtsrb:{tmp_path}")
    (tmp_path / "gtsrb_labels.npz").write_bytes(good)
    counts["test"] = 101
    with pytest.raises(DataError, match="holds 100 images, expected 101"):
        load_dataset(f"gtsrb:{tmp_path}")
    Image.fromarray(images["test"][0]).save(tmp_path / "gtsrb_test.webp", lossless=True)
    with pytest.raises(DataError, match="32x32 pixels, not rows of 3200x32"):
        load_dataset(f"gtsrb:{tmp_path}")
    (tmp_path / "gtsrb_test.webp").write_bytes(b"torn")
    with pytest.raises(DataError, match="is not a GTSRB mosaic"):
        load_dataset(f"gtsrb:{tmp_path}")


def test_every_sign_has_a_name_of_its_own() -> None:
    assert len(set(gtsrb.CLASS_NAMES)) == gtsrb.N_CLASSES == 43
    assert [gtsrb.CLASS_NAMES[c] for c in (0, 14, 33, 40)] == [
        "speed limit 20 km/h", "stop", "turn right ahead", "roundabout",
    ]  # fmt: skip
