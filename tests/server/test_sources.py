"""Where the learning curve and the synthetic samples come from, and what is said when they are not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_client.protocol.messages import NetworkSpec
from server import sources
from server.config import DataConfig, FleetConfig, NetworkConfig, PlanConfig, RunConfig, SynthConfig
from server.data.fashion_mnist import load_embedded
from server.errors import DataError
from server.run_dir import RunDir, RunInfo
from server.sources import check_sources, keep_sources, learning_values, pool_path, synthetic_samples
from server.steps import with_fresh
from server.synth.generator import Stop, never
from server.synth.pool import Pool, save_pool

NO_SAY = lambda _: None  # noqa: E731


def config_of(**given: object) -> RunConfig:
    fields = {"fleet": FleetConfig(devices=2), "data": DataConfig(source="mine.npz"), "network": NetworkConfig()}
    return RunConfig(**(fields | given))


def pool_of(folder: Path, per_class: int) -> None:
    images = tuple(np.full((per_class, 4, 4, 1), 10 * c, np.uint8) for c in range(2))
    save_pool(folder, Pool(generator="0" * 64, base_seed=0, black_below=0, images=images))


def test_what_is_missing_is_said_before_devices_are_measured(tmp_path: Path) -> None:
    check_sources(config_of(strategy="tfl"), tmp_path)
    with pytest.raises(DataError, match=r"no learning curve for mine\.npz: measure one with fimi-server fit-learning"):
        check_sources(config_of(), tmp_path)
    with pytest.raises(DataError, match=r"learning\.json does not exist"):
        check_sources(config_of(plan=PlanConfig(learning="learning.json")), tmp_path)
    (tmp_path / "learning.json").write_text('{"alpha": 1}')
    with pytest.raises(DataError, match="is no result of fit-learning"):
        check_sources(config_of(plan=PlanConfig(learning="learning.json")), tmp_path)
    (tmp_path / "learning.json").write_text(json.dumps({"alpha": 1, "beta": 0.5, "gamma": 0.1, "eta": 0.7, "more": 3}))
    with pytest.raises(DataError, match=r"no generator for mine\.npz: train one with fimi-server train-generator"):
        check_sources(config_of(plan=PlanConfig(learning="learning.json")), tmp_path)
    with pytest.raises(DataError, match=r"synth\.pool: .*pool does not exist"):
        check_sources(config_of(plan=PlanConfig(learning="learning.json"), synth=SynthConfig(pool="pool")), tmp_path)
    pool_of(tmp_path / "pool", 3)
    config = config_of(plan=PlanConfig(learning="learning.json"), synth=SynthConfig(pool="pool"))
    check_sources(config, tmp_path)
    curve, eta = learning_values(config, tmp_path)
    assert (curve.alpha, curve.beta, curve.gamma, eta) == (1.0, 0.5, 0.1, 0.7)


def test_an_install_without_what_ships_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ASSETS", tmp_path)
    with pytest.raises(DataError) as refused:
        check_sources(config_of(data=DataConfig()), tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}/fashion-mnist/learning.json is not there; it comes with the source tree, not with the wheel: "
        "from a clone, pip install -e '.[server]'"
    )
    with pytest.raises(DataError, match=r"from a clone, pip install -e '\.\[server\]'; or set data\.source"):
        load_embedded(tmp_path / "fashion-mnist")
    check_sources(config_of(data=DataConfig(), strategy="tfl"), tmp_path)


def test_samples_come_from_the_pool(tmp_path: Path) -> None:
    pool_of(tmp_path / "pool", 5)
    config = config_of(synth=SynthConfig(pool="pool"))
    counts = np.array([[3, 0], [1, 5]])
    folder = RunDir.create(tmp_path, "r", now=0.0)
    shards = synthetic_samples(config, tmp_path, folder, counts, NO_SAY)
    for (images, labels), wanted in zip(shards, counts, strict=True):
        assert np.bincount(labels, minlength=2).tolist() == wanted.tolist()
        assert (images[:, 0, 0, 0] == 10 * labels).all()


def test_a_pool_that_does_not_reach_needs_a_generator(tmp_path: Path) -> None:
    pool_of(tmp_path / "pool", 2)
    folder = RunDir.create(tmp_path, "r", now=0.0)
    with pytest.raises(DataError, match="no generator for"):
        synthetic_samples(config_of(synth=SynthConfig(pool="pool")), tmp_path, folder, np.array([[3, 0]]), NO_SAY)


class Shades:
    """A generator of what the pool does not hold: the class above 100."""

    digest = "0" * 64

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        return np.broadcast_to((100 + classes)[:, None, None, None], (len(classes), 4, 4, 1)).astype(np.uint8)


def test_fresh_samples_are_none_of_the_pools_even_where_the_run_grew_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_generator", lambda *_: Shades())
    pool_of(tmp_path / "pool", 2)
    folder = RunDir.create(tmp_path, "r", now=0.0)
    network = NetworkSpec(name="tiny", image_shape=(4, 4, 1), n_classes=2)
    folder.save("run.json", RunInfo(id="r", created="", base_dir="", network=network, class_names=(), versions={}))
    config = config_of(synth=SynthConfig(pool="pool"))
    counts = np.array([[3, 0], [1, 2]])
    grown = synthetic_samples(config, tmp_path, folder, counts, NO_SAY)
    assert sorted(grown[0][0][:, 0, 0, 0].tolist()) == [0, 0, 100]  # two of the pool, one made by the run
    fresh = with_fresh(config)
    for (images, labels), wanted in zip(
        synthetic_samples(fresh, tmp_path, folder, counts, NO_SAY), counts, strict=True
    ):
        assert np.bincount(labels, minlength=2).tolist() == wanted.tolist()
        assert (images[:, 0, 0, 0] == 100 + labels).all()
    again = synthetic_samples(config, tmp_path, folder, counts, NO_SAY)
    np.testing.assert_array_equal(again[0][0], grown[0][0])


def test_fresh_samples_need_a_generator_from_the_start(tmp_path: Path) -> None:
    pool_of(tmp_path / "pool", 3)
    (tmp_path / "learning.json").write_text(json.dumps({"alpha": 1, "beta": 0.5, "gamma": 0.1, "eta": 0.7}))
    config = config_of(plan=PlanConfig(learning="learning.json"), synth=SynthConfig(pool="pool", fresh=True))
    with pytest.raises(DataError, match=r"no generator for mine\.npz"):
        check_sources(config, tmp_path)


def test_a_generator_of_ones_own_has_no_pool_that_ships(tmp_path: Path) -> None:
    shipped = config_of(data=DataConfig())
    assert pool_path(shipped, tmp_path) is not None
    assert pool_path(config_of(data=DataConfig(), synth=SynthConfig(generator="g.safetensors")), tmp_path) is None


def test_the_pool_that_ships_is_that_of_the_generator_that_ships(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    [(images, labels)] = synthetic_samples(config_of(data=DataConfig()), tmp_path, folder, np.array([[1] * 10]), NO_SAY)
    assert (images.shape, labels.tolist()) == ((10, 28, 28, 1), list(range(10)))
    other = config_of(data=DataConfig(), synth=SynthConfig(guidance=4.0))
    with pytest.raises(DataError, match="was not made by this run's generator with 20 steps and guidance 4"):
        synthetic_samples(other, tmp_path, folder, np.array([[1] * 10]), NO_SAY)


def test_what_plans_rest_on_is_kept_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    config = config_of(plan=PlanConfig(learning="mine.json"))
    folder = RunDir.create(tmp_path, "r", now=0.0)
    keep_sources(config_of(strategy="tfl"), tmp_path, folder)
    assert not folder.has("learning.json")
    keep_sources(config, tmp_path, folder)
    assert (folder.path / "learning.json").read_text() == "{}"


def test_selection_wraps_the_generator_and_needs_its_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.synth import diffusion, selection

    monkeypatch.setattr(diffusion, "load_generator", lambda *_: Shades())
    (tmp_path / "generator.safetensors").write_bytes(b"")
    plain, selecting = (
        config_of(synth=SynthConfig(generator="generator.safetensors", select=select)) for select in (0.0, 0.5)
    )
    assert isinstance(sources._generator(plain, tmp_path), Shades)
    with pytest.raises(DataError, match="no judges at .*which selection needs"):
        sources._generator(selecting, tmp_path)
    given: list[tuple] = []

    class Seen:
        digest = "1" * 64

        def __init__(self, *own: object, **named: object) -> None:
            given.append((own[2], named))

    monkeypatch.setattr(selection, "load_judges", lambda folder: folder)
    monkeypatch.setattr(selection, "Selected", Seen)
    assert sources._generator(selecting, tmp_path).digest == Seen.digest
    assert given == [(0.5, {"black_below": 0})]
