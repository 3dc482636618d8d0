from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server import cli
from server.config import RunConfig, SynthConfig
from server.data.dataset import Dataset
from server.errors import ConfigError, DataError
from server.generating import _pool_settings
from server.learning.training import Recipe
from server.sources import ASSETS
from server.synth import make
from server.synth.card import check_trained_on, read_card, to_markdown
from server.synth.make import GeneratorSettings, PoolSettings, describe_generator, fill_pool, train_generator
from server.synth.pool import Pool
from server.synth.public import public_part
from server.synth.quality import class_accuracy, sample_grid
from server.synth.sampler import load_generator
from server.synth.settings import Sampling
from server.synth.train import TrainSettings

SETTINGS = GeneratorSettings(widths=(32, 32), train=TrainSettings(steps=2, batch=4, warmup_steps=1, bfloat16=False))
POOL = PoolSettings(per_class=3, block=3, sampling=Sampling(steps=2))


def shades(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that a glance tells apart: dark and light noise."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(seed).integers(0, 60, (n, 8, 8, 1))
    return (noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.fixture
def dataset() -> Dataset:
    return Dataset("shades", *shades(40, 0), *shades(20, 1), ("dark", "light"))


def make_all(dataset: Dataset, folder: Path, settings: GeneratorSettings) -> dict[str, Any]:
    """What the command does: train, sample, score."""
    train_generator(public_part(dataset, 0.5, 0), folder, settings)
    fill_pool(load_generator(folder / "generator.safetensors", POOL.sampling), folder / "pool", dataset, POOL)
    return describe_generator(dataset, folder, POOL)


def test_good_samples_score_high_and_swapped_classes_low(dataset: Dataset) -> None:
    x, y = shades(40, 2)
    pool = Pool("f" * 64, 0, 0, (x[y == 0], x[y == 1]))
    swapped = replace(pool, images=pool.images[::-1])
    good, bad = (
        class_accuracy(p, dataset, np.arange(40), Recipe(steps=40), network="tiny", samples=30) for p in (pool, swapped)
    )
    assert (good.accuracy, bad.accuracy) == (1.0, 0.0)
    assert good.accuracy_by_class == (1.0, 1.0)
    assert good.accuracy_of_real == bad.accuracy_of_real == 1.0
    assert (good.samples, good.test_images) == (30, 20)
    with pytest.raises(DataError, match="the pool is empty"):
        class_accuracy(replace(pool, images=(x[:0], x[:0])), dataset, np.arange(40), Recipe(), network="tiny")


def test_the_grid_has_real_images_left_and_synthetic_right(dataset: Dataset) -> None:
    x, y = shades(4, 2)
    pool = Pool("f" * 64, 0, 0, (x[y == 0], x[y == 1]))
    grid = sample_grid(pool, dataset, np.arange(40), columns=3)
    assert grid.shape == (2 * 8, 6 * 8, 1)
    assert np.array_equal(grid[8:, :8], dataset.x_train[1])
    assert np.array_equal(grid[:8, 24:32], x[0])
    assert not grid[:, 40:].any()  # the pool has two of each class, not three
    alone = sample_grid(pool, dataset, np.arange(0), columns=3)  # where no real one may be shown
    assert np.array_equal(alone, grid[:, 24:])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers, numpy 2
def test_a_generator_is_made_described_and_not_made_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "Recipe", lambda: Recipe(steps=3))
    card = make_all(dataset, tmp_path, SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "generator-card.json", "generator-card.md", "generator.safetensors", "pool", "samples.png", "training.png",
    ]  # fmt: skip
    assert json.loads((tmp_path / "generator-card.json").read_text()) == json.loads(json.dumps(card))
    assert card["data"]["images"] == 20
    assert card["data"]["licence"] == "not known"
    assert card["hardware"]["trained_on"].startswith("CPU, ")
    assert card["pool"]["by_class"] == [3, 3]
    assert 0 <= card["quality"]["accuracy"] <= 1
    assert "is right on **" in (tmp_path / "generator-card.md").read_text()

    check_trained_on(tmp_path / "generator.safetensors", card["data"]["digest"])
    with pytest.raises(DataError, match="may have seen the devices' images"):
        check_trained_on(tmp_path / "generator.safetensors", "0" * 64)

    held = (tmp_path / "generator.safetensors").read_bytes()
    (tmp_path / "generator.safetensors").write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    with pytest.raises(DataError, match="is the card of another generator"):
        check_trained_on(tmp_path / "generator.safetensors", card["data"]["digest"])
    (tmp_path / "generator.safetensors").write_bytes(held)

    state = tmp_path / "generator.state"
    state.write_bytes(b"")  # as while it is trained
    with pytest.raises(DataError, match=r"its training has not ended; .* remove generator\.state"):
        load_generator(tmp_path / "generator.safetensors", Sampling())
    state.unlink()

    monkeypatch.setattr(make, "train", None)  # would fail if it were called
    assert make_all(dataset, tmp_path, SETTINGS)["checkpoint"] == card["checkpoint"]
    with pytest.raises(DataError, match="generator of other data or settings"):
        train_generator(public_part(dataset, 0.5, 1), tmp_path, SETTINGS)
    assert card["training"]["mirror"] is False
    mirrored = replace(SETTINGS, train=replace(SETTINGS.train, mirror=True))
    with pytest.raises(DataError, match=r"settings \(training\.mirror is False there, True here\): move it away"):
        train_generator(public_part(dataset, 0.5, 0), tmp_path, mirrored)
    with pytest.raises(DataError, match="was not made by"):
        describe_generator(dataset, tmp_path, replace(POOL, sampling=Sampling(3)))
    (tmp_path / "generator-card.json").unlink()
    with pytest.raises(DataError, match="is not known"):
        check_trained_on(tmp_path / "generator.safetensors", card["data"]["digest"])
    with pytest.raises(DataError, match="has no card beside it"):
        train_generator(public_part(dataset, 0.5, 0), tmp_path, SETTINGS)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers, numpy 2
def test_a_pool_for_other_data_is_refused_before_a_sample_is_made(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "g"
    train_generator(public_part(dataset, 0.5, 0), folder, SETTINGS)
    other = replace(dataset, x_train=dataset.x_train[::-1].copy(), y_train=dataset.y_train[::-1].copy())
    for name, own in (("other", other), ("right", dataset)):
        parts = {part: getattr(own, part) for part in ("x_train", "y_train", "x_test", "y_test")}
        np.savez(tmp_path / f"{name}.npz", **parts)
    asked = ["synth-pool", "--per-class", "1", "--block", "1", "--out", str(folder), "--data"]
    assert cli.main([*asked, str(tmp_path / "other.npz")]) == 4
    assert "was trained on shades, not on the public part of this other" in capsys.readouterr().err
    assert not (folder / "pool").exists()


def test_images_are_mirrored_only_where_that_is_asked_for() -> None:
    parse = cli.build_parser().parse_args
    assert not parse(["train-generator", "RUN.toml", "--out", "g"]).mirror
    assert parse(["train-generator", "RUN.toml", "--out", "g", "--mirror"]).mirror
    assert not TrainSettings().mirror
    shipped = read_card(ASSETS / "fashion-mnist" / "generator-card.json")
    assert shipped is not None
    assert shipped["training"]["mirror"] is True
    page = (ASSETS / "fashion-mnist" / "generator-card.md").read_text()
    assert page == to_markdown(shipped)


def test_images_that_fit_no_generator_are_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    for side, words in (((8, 10), "needs square images, these are 10x8"), ((10, 10), "divisible by 4")):
        odd = replace(dataset, x_train=np.zeros((40, *side, 1), np.uint8), x_test=np.zeros((20, *side, 1), np.uint8))
        with pytest.raises(DataError, match=words):
            train_generator(public_part(odd, 0.5, 0), tmp_path, SETTINGS)


def test_widths_that_no_network_has_are_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"widths \(50, 64\) are not multiples of 16; set data.image_size or --widths"):
        train_generator(public_part(dataset, 0.5, 0), tmp_path, replace(SETTINGS, widths=(50, 64)))


def test_a_pool_is_as_dark_as_the_run_wants() -> None:
    def settings(given: list[str], wanted: int | None) -> int:
        arguments = cli.build_parser().parse_args(["synth-pool", "RUN.toml", "--out", "g", *given])
        return _pool_settings(arguments, RunConfig(synth=SynthConfig(black_below=wanted))).black_below

    assert (settings([], None), settings([], 8), settings(["--black-below", "5"], None)) == (0, 8, 5)
    with pytest.raises(ConfigError, match=r"--black-below: 5, but synth\.black_below of RUN\.toml is 8; give one"):
        settings(["--black-below", "5"], 8)


def test_cards_read_back_and_show_every_part(tmp_path: Path) -> None:
    assert read_card(tmp_path / "card.json") is None
    (tmp_path / "card.json").write_text("[1]")
    with pytest.raises(DataError, match="not a generator's card"):
        read_card(tmp_path / "card.json")
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_card(tmp_path / "card.json")
    text = to_markdown({"data": {"name": "x", "class_names": ["a|b", "c"]}, "date": "2024-05-01"})
    assert "| class_names | a\\|b, c |" in text
    assert text.startswith("# Generator for x")
