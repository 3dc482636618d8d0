from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_client.protocol.messages import NetworkSpec
from server.data.dataset import Dataset
from server.errors import ConfigError, DataError
from server.learning.curve import Point
from server.learning.fit_learning import LearningSettings, fit_learning
from server.learning.made import Made
from server.learning.measure import Job, MeasureProgress, measure, run_job
from server.learning.training import Recipe, balanced_draw, train_network
from server.resources import explained
from server.rounds.evaluate import evaluate

CLASSES = 4


def patterns(n: int, seed: int, noise: float = 75.0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images of one fixed pattern per class: a task that more data makes easier."""
    prototypes = np.random.default_rng(99).integers(60, 196, (CLASSES, 8, 8, 1))
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    images = prototypes[labels] + noise * rng.normal(size=(n, 8, 8, 1))
    return images.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset("patterns", *patterns(2400, 0), *patterns(300, 1), tuple("abcd"))


@pytest.fixture(scope="module")
def made() -> Made:
    return Made(*patterns(800, 2, noise=85.0), {"generator": "f" * 64})


SETTINGS = LearningSettings(
    network="tiny",
    amounts=(8, 24, 80, 240, 720),
    mixtures=((8, 72), (24, 240)),
    seeds=(0, 1),
    recipe=Recipe(steps=60),
    max_test=200,
    refits=5,
    workers=1,
)


def test_training_learns_and_follows_its_seed() -> None:
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=CLASSES)
    images, labels = patterns(200, 3, noise=20.0)
    one, again = (train_network(network, images, labels, Recipe(steps=60), seed=4) for _ in range(2))
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert evaluate(network, one, *patterns(100, 5, noise=20.0)).accuracy > 0.9


def test_a_small_gradient_bound_changes_what_is_learnt() -> None:
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=CLASSES)
    images, labels = patterns(40, 3)
    plain = train_network(network, images, labels, Recipe(steps=3), seed=0)
    bounded = train_network(network, images, labels, Recipe(steps=3, clip_norm=1e-3), seed=0)
    start = train_network(network, images, labels, Recipe(steps=0), seed=0)
    assert 0 < np.abs(bounded["fc.weight"] - start["fc.weight"]).max() < 1e-3
    assert np.abs(plain["fc.weight"] - start["fc.weight"]).max() > 1e-3


def test_draws_are_balanced_and_nested() -> None:
    labels = np.array([0] * 20 + [1] * 3 + [2] * 20)
    small, large = (balanced_draw(labels, n, np.random.default_rng(7)) for n in (9, 21))
    assert np.bincount(labels[small]).tolist() == [3, 3, 3]
    assert np.bincount(labels[large]).tolist() == [9, 3, 9]
    assert np.array_equal(large[:9], small)
    assert len(np.unique(large)) == 21


def test_a_whole_measurement_is_fitted_written_and_resumed(dataset: Dataset, made: Made, tmp_path: Path) -> None:
    seen: list[MeasureProgress] = []
    out = tmp_path / "learning.json"
    fit = fit_learning(dataset, made, out, SETTINGS, report=seen.append)
    content = json.loads(out.read_text())
    assert (content["alpha"], content["eta"]) == (fit.alpha, fit.eta)
    assert 0 < fit.eta <= 1
    assert content["points"][0]["error"] > content["points"][4]["error"]
    assert content["provenance"]["generator"] == "f" * 64
    assert content["provenance"]["tested_on"] == "test part"
    assert content["provenance"]["test_images"] == 200
    assert content["provenance"]["test_digest"] != content["provenance"]["public_digest"]
    assert content["intervals"]["eta"][0] < fit.eta < content["intervals"]["eta_free"][1]
    assert len(content["points"]) == len(seen) == 14
    assert [p.done for p in seen] == list(range(1, 15))
    assert seen[-1].left_s == 0

    seen.clear()
    assert fit_learning(dataset, made, out, SETTINGS, report=seen.append) == fit
    assert not seen

    fit_learning(dataset, made, out, replace(SETTINGS, mixtures=((8, 72), (24, 240), (8, 240))), report=seen.append)
    assert [(p.point.real, p.point.synthetic) for p in seen] == [(8, 240)] * 2

    seen.clear()  # samples that changed under the same names are other samples
    fit_learning(dataset, replace(made, images=made.images ^ 1), out, SETTINGS, report=seen.append)
    assert len(seen) == 14


def test_too_few_samples_are_one_sentence(dataset: Dataset, made: Made, tmp_path: Path) -> None:
    for changed, words in (
        ({"amounts": (8, 24, 80, 5000)}, "5000 real samples are asked for, the public part of patterns has 1200"),
        ({"mixtures": ((8, 801),)}, "801 synthetic samples are asked for, there are 800"),
        ({"mixtures": ((0, 8),)}, "start at 1"),
        ({"mixtures": ((8, 0),)}, "start at 1"),
        ({"amounts": (8, 24, 80)}, "3 amounts of data are too few"),
        ({"seeds": (1, 1)}, "one seed does not tell"),
    ):
        with pytest.raises((ConfigError, DataError), match=words):
            fit_learning(dataset, made, tmp_path / "l.json", replace(SETTINGS, **changed))
    few = Made(made.images[made.labels < 3], made.labels[made.labels < 3])
    with pytest.raises(DataError, match="no synthetic sample of the class d"):
        fit_learning(dataset, few, tmp_path / "l.json", SETTINGS)
    with pytest.raises(DataError, match=r"the samples are \(8, 7, 1\) in 4 classes, patterns is \(8, 8, 1\) in 4"):
        fit_learning(dataset, Made(made.images[:, :, 1:], made.labels), tmp_path / "l.json", SETTINGS)


def job(point: Point) -> Job:
    images, labels = patterns(40, point.seed)
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=CLASSES)
    return Job(point, network, Recipe(steps=2), images, labels, images, labels)


def test_an_interruption_loses_no_point(tmp_path: Path) -> None:
    wanted = [Point(40, 0, seed, float("nan")) for seed in range(4)]
    saved = tmp_path / "points.jsonl"
    calls: list[int] = []

    def run_two(own: Job) -> Point:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(own.point.seed)
        return Point(40, 0, own.point.seed, 0.25)

    def go(run: Callable[[Job], Point], key: str = "k") -> list[Point]:
        return measure(wanted, job, run, saved, key, workers=1, report=lambda _: None)

    with pytest.raises(KeyboardInterrupt):
        go(run_two)
    with saved.open("a") as file:
        file.write('\n{"key": "k", "real": 4')  # a line that the power cut short
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        go(run_two, key="other settings")
    assert calls == [0, 1]
    calls.clear()
    assert [p.error for p in go(run_two)] == [0.25] * 4
    assert calls == [2, 3]
    assert [p.error for p in go(run_two)] == [0.25] * 4
    assert calls == [2, 3]


def hang(own: Job) -> Point:
    print(own.point.seed, flush=True)
    threading.Event().wait()
    return own.point


HANGING = """
from pathlib import Path
from server.learning.curve import Point
from server.learning.measure import measure
from tests.learning.test_fit_learning import hang, job

if __name__ == "__main__":
    points = [Point(40, 0, seed, float("nan")) for seed in range(2)]
    measure(points, job, hang, Path("never.jsonl"), "k", workers=2, report=print)
"""


def vanish(own: Job) -> Point:
    os._exit(1)  # as the kernel ends who takes too much memory


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_sentence(tmp_path: Path) -> None:
    wanted = [Point(40, 0, seed, float("nan")) for seed in range(2)]
    with pytest.raises(BrokenProcessPool) as ended:
        measure(wanted, job, vanish, tmp_path / "p.jsonl", "k", workers=2, report=lambda _: None)
    assert "most often because memory ran out; fewer --workers" in str(explained(ended.value))


def test_a_training_that_diverges_is_named() -> None:
    images, labels = patterns(40, 0)
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=CLASSES)
    recipe = Recipe(steps=200, learning_rate=1e6, clip_norm=None)
    with pytest.raises(
        DataError, match=r"tiny diverged: its loss is (nan|inf) at step \d+ of 200; a learning rate bel"
    ):
        train_network(network, images, labels, recipe, seed=0)


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "hanging.py")], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}
    )
    assert parent.stdout is not None
    with parent.stdout as said:
        assert sorted([said.readline(), said.readline()]) == [b"0\n", b"1\n"]
        parent.kill()
        parent.wait()
        assert said.read() == b""  # it comes to its end only when nobody can write any more


@pytest.mark.slow
def test_worker_processes_measure_the_same(tmp_path: Path) -> None:
    wanted = [Point(40, 0, seed, float("nan")) for seed in range(3)]
    one, two = (
        measure(wanted, job, run_job, tmp_path / f"{n}.jsonl", "k", workers=n, report=lambda _: None) for n in (1, 2)
    )
    assert one == two
