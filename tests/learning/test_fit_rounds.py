"""Federations on the public part: the same algorithm as a round, and curves that depend on the amount of data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.config import DataConfig, FleetConfig, NetworkConfig, RunConfig, TrainingConfig
from server.data.dataset import Dataset
from server.errors import DataError
from server.learning.federated import FederationJob, Progression, filled, run_federation
from server.learning.fit_rounds import RoundsSettings, fit_rounds, synthetic_of
from server.learning.progressions import curves, terms
from server.learning.training import Recipe, train_network
from server.rounds.evaluate import evaluate
from server.synth.pool import Pool
from tests.learning.test_fit_learning import CLASSES, patterns

NETWORK = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=CLASSES)
CONFIG = RunConfig(
    network=NetworkConfig(name="tiny"),
    fleet=FleetConfig(devices=3),
    data=DataConfig(partition="dirichlet", alpha=0.5, local_samples=16),
    training=TrainingConfig(rounds=6, learning_rate=0.05, batch_size=8),
)


def test_one_device_and_one_round_is_plain_sgd() -> None:
    """A federation of one device is that device's own training: FedAvg adds nothing to it."""
    images, labels = patterns(64, 3, noise=20.0)
    training = TrainingConfig(rounds=1, batch_size=64, learning_rate=0.05, momentum=0.0)
    got = run_federation(FederationJob(Progression(1.0, 4), NETWORK, training, ((images, labels),), (images, labels)))
    # One batch of everything: one step of gradient descent, whatever the order.
    recipe = Recipe(steps=1, batch_size=64, learning_rate=0.05, momentum=0.0, clip_norm=None)
    weights = train_network(NETWORK, images, labels, recipe, seed=4)
    assert got == Progression(1.0, 4, (evaluate(NETWORK, weights, images, labels).accuracy,))


def test_two_devices_are_averaged_by_their_samples() -> None:
    """With one step of the same rate from the same weights, averaging by samples is the step on all samples at once."""
    images, labels = patterns(60, 5, noise=20.0)
    training = TrainingConfig(rounds=1, batch_size=64, learning_rate=0.05, momentum=0.0)
    apart = ((images[:20], labels[:20]), (images[20:], labels[20:]))
    together = ((images, labels),)
    test = patterns(400, 6, noise=60.0)
    one, two = (
        run_federation(FederationJob(Progression(1.0, 0), NETWORK, training, devices, test))
        for devices in (together, apart)
    )
    assert one.accuracy == pytest.approx(two.accuracy, abs=0.01)
    start = networks.initial_weights("tiny", (8, 8, 1), CLASSES, 0)
    assert one.accuracy[0] != evaluate(NETWORK, start, *test).accuracy


def test_filling_joins_and_keeps_order() -> None:
    own = [(np.zeros((1, 8, 8, 1), np.uint8), np.array([0])), (np.ones((2, 8, 8, 1), np.uint8), np.array([1, 2]))]
    extra = [(np.full((2, 8, 8, 1), 7, np.uint8), np.array([3, 3])), (np.zeros((0, 8, 8, 1), np.uint8), np.array([]))]
    first, second = filled(own, extra)
    assert (first[1].tolist(), second[1].tolist()) == ([0, 3, 3], [1, 2])
    assert first[0][:, 0, 0, 0].tolist() == [0, 7, 7]


def test_a_factor_counts_samples() -> None:
    assert synthetic_of(np.array([30, 10]), 2.5) == 60
    assert synthetic_of(np.array([30, 10]), 1.0) == 0


def test_curves_are_by_factor_and_as_long_as_the_shortest_seed() -> None:
    made = curves(
        [Progression(2.0, 0, (0.5, 0.6)), Progression(1.0, 0, (0.1, 0.2, 0.3)), Progression(1.0, 1, (0.3, 0.4))]
    )
    assert [curve.fill_factor for curve in made] == [1.0, 2.0]
    np.testing.assert_array_equal(made[0].accuracy, [[0.1, 0.2], [0.3, 0.4]])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset("patterns", *patterns(800, 0), *patterns(100, 1), tuple("abcd"))


@pytest.fixture(scope="module")
def pool() -> Pool:
    images, labels = patterns(800, 2)
    return Pool("f" * 64, 0, 0, tuple(images[labels == c] for c in range(CLASSES)))


SETTINGS = RoundsSettings(fill_factors=(1.0, 6.0), seeds=(0, 1), max_test=200, workers=1)


def test_measured_written_resumed_and_more_data_learns_faster(dataset: Dataset, pool: Pool, tmp_path: Path) -> None:
    out = tmp_path / "rounds.json"
    seen = []
    plain, more = fit_rounds(CONFIG, dataset, pool, out, SETTINGS, report=seen.append)
    assert (plain.fill_factor, more.fill_factor) == (1.0, 6.0)
    assert plain.accuracy.shape == more.accuracy.shape == (2, 6)
    assert more.monotone[-1] > plain.monotone[-1] + 0.05
    content = json.loads(out.read_text())
    assert len(content["progressions"]) == len(seen) == 4
    assert content["provenance"]["devices"] == 3
    seen.clear()
    again = fit_rounds(CONFIG, dataset, pool, out, SETTINGS, report=seen.append)
    assert not seen
    np.testing.assert_array_equal(again[1].accuracy, more.accuracy)


def test_it_is_tested_on_images_that_the_generator_has_not_seen(dataset: Dataset, pool: Pool, tmp_path: Path) -> None:
    """With a test part of turned labels nothing is right: no public image, which the generator knows, has a say."""
    turned = replace(dataset, y_test=(dataset.y_test + 1) % CLASSES)
    settings = replace(SETTINGS, fill_factors=(6.0,), seeds=(0,))
    (curve,) = fit_rounds(CONFIG, turned, pool, tmp_path / "rounds.json", settings)
    assert curve.accuracy[0, -1] < 0.2
    content = json.loads((tmp_path / "rounds.json").read_text())
    assert content["provenance"]["test_images"] == len(turned.y_test)


def test_too_little_is_one_sentence(dataset: Dataset, pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a fill factor of 40 takes .* synthetic samples of a class, the pool has 200"):
        fit_rounds(CONFIG, dataset, pool, tmp_path / "r.json", replace(SETTINGS, fill_factors=(40.0,)))


def test_what_the_curves_depend_on() -> None:
    """Rounds and the end of a run do not matter, everything else of the training does."""
    found = terms(CONFIG)
    assert found["partition"] == ["dirichlet", 0.5, 2, 16]
    assert "rounds" not in found["training"]
    assert found["training"]["learning_rate"] == 0.05
