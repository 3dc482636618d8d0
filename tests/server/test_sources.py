"""Where the learning curve and the generator come from, and what is said when they are not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from server import sources
from server.config import DataConfig, FleetConfig, NetworkConfig, PlanConfig, RunConfig, SynthConfig
from server.data.fashion_mnist import load_embedded
from server.errors import DataError
from server.run_dir import RunDir
from server.sources import check_sources, keep_sources, learning_values, pool_path
from tests.synth.stores import write_pool


def config_of(**given: object) -> RunConfig:
    fields = {"fleet": FleetConfig(devices=2), "data": DataConfig(source="mine.npz"), "network": NetworkConfig()}
    return RunConfig(**(fields | given))


def pool_of(folder: Path, per_class: int) -> None:
    write_pool(folder, [np.full((per_class, 4, 4, 1), 10 * c, np.uint8) for c in range(2)])


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


def test_what_plans_rest_on_is_kept_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    config = config_of(plan=PlanConfig(learning="mine.json"))
    folder = RunDir.create(tmp_path, "r", now=0.0)
    keep_sources(config_of(strategy="tfl"), tmp_path, folder)
    assert not folder.has("learning.json")
    keep_sources(config, tmp_path, folder)
    assert (folder.path / "learning.json").read_text() == "{}"
