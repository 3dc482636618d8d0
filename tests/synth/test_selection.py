from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.errors import ConfigError, DataError
from server.learning.kept import read_kept, write_kept
from server.learning.training import Recipe
from server.synth import judges as judges_module
from server.synth.generator import Stop, Stopped, never
from server.synth.judges import FILE, Judges, JudgeSettings, load_judges, train_judges
from server.synth.public import PublicPart
from server.synth.selection import Selected, blackened, seed_of_attempt, selected

SETTINGS = JudgeSettings(members=2, network="tiny", recipe=Recipe(steps=40, batch_size=8, learning_rate=0.04))


def part(seed: int = 0) -> PublicPart:
    """Two classes that a glance tells apart: dark and light noise."""
    labels = np.arange(40) % 2
    noise = np.random.default_rng(seed).integers(0, 60, (40, 8, 8, 1))
    return PublicPart(
        "shades", (noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels, ("d", "l"), 0.5, 0
    )


class Mistaken:
    """A generator for `part`: every third seed draws the other class, and some seeds always do."""

    digest = "g" * 64

    def __init__(self) -> None:
        self.asked: list[int] = []

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        if stop():
            raise Stopped
        self.asked += seeds.tolist()
        shown = np.where(seeds % 3 == 0, 1 - classes, classes)
        return np.stack(
            [
                (np.random.default_rng(seed).integers(0, 60, (8, 8, 1)) + 150 * own).astype(np.uint8)
                for own, seed in zip(shown, seeds.tolist(), strict=True)
            ]
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("generator")
    train_judges(part(), home, SETTINGS)
    return home


def light(images: np.ndarray) -> np.ndarray:
    return (images.mean(axis=(1, 2, 3)) > 100).astype(int)


def test_what_is_not_recognised_is_drawn_again_and_the_rest_left_alone(folder: Path) -> None:
    classes, seeds = np.array([0, 1] * 30), np.arange(60)
    plain, inner = Mistaken().sample(classes, seeds), Mistaken()
    images = Selected(inner, load_judges(folder), 0.5).sample(classes, seeds)
    assert (light(plain) != classes).sum() == 20
    assert (light(images) == classes).all()
    kept = seeds % 3 != 0
    assert np.array_equal(images[kept], plain[kept])
    expected = next(k for k in range(1, 8) if seed_of_attempt(0, k) % 3)
    assert np.array_equal(images[:1], Mistaken().sample(np.array([0]), np.array([seed_of_attempt(0, expected)])))
    assert inner.asked[:60] == seeds.tolist()
    assert len(inner.asked) < 60 + 20 * 3


def test_one_seed_is_one_image_whatever_batch_it_is_in(folder: Path) -> None:
    generator = Selected(Mistaken(), load_judges(folder), 0.5)
    classes, seeds = np.array([0, 1] * 6), np.arange(12)
    whole = generator.sample(classes, seeds)
    alone = [generator.sample(classes[i : i + 1], seeds[i : i + 1])[0] for i in range(12)]
    assert np.array_equal(whole, np.stack(alone))
    turned = generator.sample(classes[::-1], seeds[::-1])
    assert np.array_equal(turned[::-1], whole)


class Always(Mistaken):
    """Never the class that is asked for; the later it is asked, the more of it."""

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        self.asked += seeds.tolist()
        level = 200 - 10 * len(self.asked)
        return np.full((len(classes), 8, 8, 1), level, np.uint8)


def test_the_attempts_are_bounded_and_the_best_recognised_stands(folder: Path) -> None:
    inner = Always()
    image = Selected(inner, load_judges(folder), 1.0, attempts=4).sample(np.array([0]), np.array([5]))
    assert inner.asked == [5, *(seed_of_attempt(5, k) for k in (1, 2, 3))]
    assert image[0, 0, 0, 0] == 160
    with pytest.raises(Stopped):
        Selected(Mistaken(), load_judges(folder), 0.5).sample(np.array([0]), np.array([3]), lambda: True)


def test_threshold_judges_and_blackening_are_part_of_the_digest(folder: Path, tmp_path: Path) -> None:
    judges = load_judges(folder)
    other = train_judges(part(1), tmp_path, SETTINGS)
    inner = Mistaken()
    digests = {
        g.digest
        for g in (
            inner,
            Selected(inner, judges, 0.5),
            Selected(inner, judges, 0.4),
            Selected(inner, other, 0.5),
            Selected(inner, judges, 0.5, black_below=8),
            Selected(inner, judges, 0.5, attempts=2),
        )
    }
    assert len(digests) == 6
    assert Selected(inner, load_judges(folder), 0.5).digest in digests
    assert selected(inner, folder, 0.0) is inner
    assert selected(inner, folder, 0.4).digest in digests
    with pytest.raises(DataError, match="no judges at .*which selection needs"):
        selected(inner, tmp_path / "none", 0.4)
    for wrong in (0.0, 1.1):
        with pytest.raises(ConfigError, match="a probability above 0, at most 1"):
            Selected(inner, judges, wrong)


def test_images_are_judged_as_the_pool_keeps_them(folder: Path) -> None:
    assert blackened(np.array([3, 8, 7], np.uint8), 8).tolist() == [0, 8, 0]
    inner = Mistaken()
    whole = Selected(inner, load_judges(folder), 0.5, black_below=255).sample(np.array([1]), np.array([1]))
    assert len(inner.asked) == 8  # all black: never taken for the light class
    assert whole.max() > 100  # what comes back is not blackened


def test_a_probability_by_hand() -> None:
    spec = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=2)
    members = []
    for bias in (np.log(3.0), 0.0):
        weights = {k: np.zeros_like(v) for k, v in networks.initial_weights("tiny", (8, 8, 1), 2, 0).items()}
        weights["fc.bias"] = np.array([bias, 0.0], np.float32)
        members.append(weights)
    # the first gives class 0 a probability of 3/4, the second one half
    images = np.zeros((101, 8, 8, 1), np.uint8)
    found = Judges(spec, tuple(members), {}).recognised(images, np.array([0] * 100 + [1]))
    assert found[[0, 99, 100]] == pytest.approx([0.625, 0.625, 0.375])


def test_judges_are_trained_once_go_on_after_an_interruption_and_are_refused_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    told: list[tuple[int, int]] = []

    def interrupted(done: int, of: int) -> None:
        told.append((done, of))
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_judges(part(), tmp_path, SETTINGS, report=interrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["judge-0.partial.safetensors"]
    calls = []
    train = judges_module.trained_once
    monkeypatch.setattr(judges_module, "trained_once", lambda *a, **k: calls.append(k["seed"]) or train(*a, **k))
    whole = train_judges(part(), tmp_path, SETTINGS)
    assert calls == [1000, 1001]  # the first is read, not trained
    assert whole.digest == load_judges(folder).digest
    assert [p.name for p in tmp_path.iterdir()] == [FILE]
    assert train_judges(part(), tmp_path, SETTINGS).digest == whole.digest
    assert len(calls) == 2
    with pytest.raises(DataError, match="of other data or settings"):
        train_judges(part(1), tmp_path, SETTINGS)
    with pytest.raises(DataError, match="another public part"):
        load_judges(tmp_path, "0" * 64)
    weights, facts = read_kept(tmp_path / FILE) or ({}, {})
    write_kept(tmp_path / FILE, weights, facts | {"format": "other"})
    with pytest.raises(DataError, match="is 'other', expected"):
        load_judges(tmp_path)
    weights["0.fc.bias"] = np.full(2, np.nan, np.float32)
    write_kept(tmp_path / FILE, weights, facts)
    with pytest.raises(DataError, match=r"0\.fc\.bias holds numbers that are not finite"):
        load_judges(tmp_path)
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(DataError, match="is no file of networks of ours"):
        load_judges(tmp_path)
