from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server import cli
from server.data.dataset import Dataset
from server.errors import DataError
from server.synth import public
from server.synth.public import grid_of, public_part, read_public, write_public


@pytest.fixture(params=[1, 3])
def dataset(request: pytest.FixtureRequest) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 8, 8, request.param), dtype=np.uint8)
    return Dataset("noise", x[:40], np.arange(40) % 2, x[40:], np.arange(20) % 2, ("a", "b"))


def test_the_public_part_comes_back_from_its_files(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public, "COLUMNS", 3)
    monkeypatch.setattr(public, "ROWS", 3)
    part = public_part(dataset, 0.5, 3)
    size = write_public(tmp_path, part)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert len(list(tmp_path.glob("images-*.webp"))) == 3  # of 20 images, 9 in each
    back = read_public(tmp_path)
    assert np.array_equal(back.images, part.images)
    assert np.array_equal(back.labels, part.labels)
    assert back.facts == part.facts
    assert (part.facts["images"], part.facts["split_seed"], part.facts["class_names"]) == (20, 3, ["a", "b"])


def test_files_that_are_missing_or_of_other_images_are_named(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="public.json is missing; make the folder with: fimi-server pack-public"):
        read_public(tmp_path)
    write_public(tmp_path, public_part(dataset, 0.5, 0))
    held = dict(np.load(tmp_path / "labels.npz"))
    np.savez(tmp_path / "labels.npz", y=1 - held["y"], shape=held["shape"])
    with pytest.raises(DataError, match="the images are not those that public.json speaks of"):
        read_public(tmp_path)
    whole = (tmp_path / "labels.npz").read_bytes()
    for cut_short in (whole[:-30], b""):
        (tmp_path / "labels.npz").write_bytes(cut_short)
        with pytest.raises(DataError, match="is no folder of fimi-server pack-public"):
            read_public(tmp_path)
    (tmp_path / "public.json").write_text('{"format": "fimi-public-0"}')
    with pytest.raises(DataError, match="is 'fimi-public-0', expected 'fimi-public-1'"):
        read_public(tmp_path)
    (tmp_path / "public.json").write_text("{")
    with pytest.raises(DataError, match="is no folder of fimi-server pack-public"):
        read_public(tmp_path)


def test_mosaics_are_as_large_as_a_webp_may_be() -> None:
    assert grid_of(32, 32) == (50, 5000)
    assert grid_of(200, 200) == (50, 50 * 40)  # 80 million pixels in all
    assert grid_of(400, 500) == (32, 32 * 12)  # 16,000 of 16,383 pixels a row
    assert grid_of(16_000, 100) == (50, 50)
    with pytest.raises(DataError, match=r"images of 20000x100 are too large to be packed: set data\.image_size"):
        grid_of(100, 20_000)


def test_a_class_without_a_public_image_is_named(dataset: Dataset) -> None:
    three = Dataset(
        dataset.name, dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test, ("cats", "dogs", "newts")
    )
    with pytest.raises(DataError, match="no public image of the class newts: .* leave the class out"):
        public_part(three, 0.5, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pack-public", "--out", "x"], "give either RUN.toml or --data SOURCE"),
        (["train-generator", "R.toml", "--public", "p", "--out", "x"], "--public: is given beside a data set"),
        (["train-generator", "--public", "p", "--steps", "9", "--minutes", "1", "--out", "x"], "--minutes: is given"),
        (["train-generator", "--public", "p", "--steps", "0", "--out", "x"], "--steps: 0; a whole number from 1 up"),
        (["train-generator", "--public", "p", "--minutes", "-1", "--out", "x"], "--minutes: -1; a number above 0"),
        (["train-generator", "--public", "p", "--lr", "nan", "--out", "x"], "--lr: nan; a number above 0"),
        (["train-generator", "--public", "p", "--seed", "-1", "--out", "x"], "--seed: -1; a whole number from 0 up"),
        (["train-generator", "--public", "p", "--minutes", "inf", "--out", "x"], "--minutes: inf; a number above 0"),
        (["train-generator", "--public", "p", "--per-class", "0", "--out", "x"], "--per-class: 0; a whole number from"),
        (["train-generator", "--public", "p", "--block", "0", "--out", "x"], "--block: 0; a whole number from 1 up"),
        (["synth-pool", "R.toml", "--black-below", "256", "--out", "x"], "--black-below: 256; a grey level from 0 to"),
        (["assess-generator", "R.toml", "--steps", "-5", "--out", "x"], "--steps: -5; a whole number from 1 up"),
        (["assess-generator", "R.toml", "--max-test", "0", "--out", "x"], "--max-test: 0; a whole number from 1 up"),
        (["fit-learning", "R.toml", "--steps", "0", "--out", "x"], "--steps: 0; a whole number from 1 up"),
        (["fit-rounds", "R.toml", "--rounds", "0", "--out", "x"], "--rounds: 0; a whole number from 1 up"),
        (["train-generator", "--public", "p", "--ema", "1", "--out", "x"], "--ema: 1; from 0 to below 1"),
        (["train-generator", "--public", "p", "--patch", "0", "--out", "x"], "--patch: 0; a whole number from 1 up"),
    ],
)
def test_a_wrong_line_is_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err
