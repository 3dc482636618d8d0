"""Where the learning curve and the generator come from, and what is said when they are not there."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edge_client.protocol.messages import NetworkSpec
from server import sources
from server.config import DataConfig, FleetConfig, NetworkConfig, PlanConfig, RunConfig, SynthConfig
from server.data.dataset import Dataset, images_digest
from server.data.fashion_mnist import load_embedded
from server.errors import ConfigError, DataError
from server.learning.training import Recipe
from server.run_dir import RunDir, RunInfo
from server.sampling import synthetic_samples
from server.sources import (
    check_generator,
    check_learning,
    check_sources,
    generator_source,
    keep_sources,
    learning_values,
    pool_path,
)
from server.synth import sampler, selection
from server.synth.hardware import Hardware
from server.synth.judges import JudgeSettings, train_judges
from server.synth.opening import Wanted
from server.synth.public import public_part
from server.synth.settings import Sampling
from server.synth.store import Block, Kind, Store
from tests.synth.fake_generator import FakeGenerator
from tests.synth.stores import write_pool
from tests.synth.tiny_pipelines import save_text_pipeline


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


def test_a_learning_curve_of_something_else_is_refused_or_told(tmp_path: Path) -> None:
    values = {"alpha": 1, "beta": 0.5, "gamma": 0.1, "eta": 0.7}
    x, y = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1])
    data, public = Dataset("mine", x, y, x, y, ("cat", "dog")), np.array([0, 1])
    of = {
        "dataset": "mine",
        "public_digest": images_digest(x[public], y[public]),
        "network": "vgg9",
        "generator": "a" * 64,
        "recipe": {"steps": 500},
    }
    config = config_of(plan=PlanConfig(learning="learning.json"))

    def said(generator: str | None = "a" * 64, network: str = "vgg9", **given: object) -> list[str]:
        (tmp_path / "learning.json").write_text(json.dumps(values | given))
        lines: list[str] = []
        named = msgspec.structs.replace(config, network=NetworkConfig(name=network))
        check_learning(named, tmp_path, data, public, generator, lines.append)
        return lines

    assert said() == said(provenance=of) == said(None, provenance=of) == []
    assert said(provenance=of | {"dataset": "a name it had before"}) == []
    other = of | {"public_digest": "0" * 64}
    with pytest.raises(
        DataError, match=r"learning\.json was measured on photos, this run is of mine: measure one with"
    ):
        said(provenance=other | {"dataset": "photos"})
    assert "was measured on another public part of mine" in said(provenance=other)[0]
    network, generator = said("b" * 64, "tiny", provenance=of)
    assert "was measured with vgg9, not tiny" in network
    assert f"samples of generator {'a' * 16}, this run's are of {'b' * 16}: they may be worth more or less" in generator
    tfl = msgspec.structs.replace(config, strategy="tfl")
    check_learning(tfl, tmp_path / "nowhere", data, public, None, pytest.fail)


def test_a_pool_alone_of_another_cut_is_refused_by_the_card_beside_it(tmp_path: Path) -> None:
    pool_of(tmp_path / "g" / "pool", 3)
    x, y = np.zeros((4, 4, 4, 1), np.uint8), np.array([0, 1, 0, 1])
    data, public, said = Dataset("mine", x, y, x, y, ("cat", "dog")), np.array([0, 1]), list[str]()
    config = config_of(synth=SynthConfig(pool="g/pool"))
    check_generator(config, tmp_path, data, public, said.append)
    assert "may have seen the devices' data" in said.pop()
    card = {"format": "fimi-generator-card-1", "sampling": {"digest": "0" * 64}}
    for digest, right in ((images_digest(x[public], y[public]), True), ("f" * 64, False)):
        about = {"name": "mine", "digest": digest, "public_fraction": 0.9, "split_seed": 0}
        (tmp_path / "g" / "generator-card.json").write_text(json.dumps(card | {"data": about}))
        with nullcontext() if right else pytest.raises(DataError, match="may have seen the devices' images"):
            check_generator(config, tmp_path, data, public, said.append)
    assert not said


def test_what_may_ship_or_not_is_taken_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ASSETS", tmp_path)
    signs = config_of(data=DataConfig(source="gtsrb:somewhere/gtsrb"))
    assert generator_source(signs, tmp_path) is None
    (tmp_path / "gtsrb").mkdir()
    (tmp_path / "gtsrb" / "generator.safetensors").touch()
    assert generator_source(signs, tmp_path) == tmp_path / "gtsrb" / "generator.safetensors"
    assert pool_path(signs, tmp_path) is None
    own = msgspec.structs.replace(signs, synth=SynthConfig(pool="mine"))
    assert generator_source(own, tmp_path) is None  # a pool of one's own is not of the generator that ships


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


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers, numpy 2
def test_a_run_takes_its_samples_from_a_pipeline_of_others(tmp_path: Path) -> None:
    save_text_pipeline(tmp_path / "sd", timestep_spacing="trailing")
    (tmp_path / "sd" / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "learning.json").write_text(json.dumps({"alpha": 1, "beta": 0.5, "gamma": 0.1, "eta": 0.7}))
    config = config_of(plan=PlanConfig(learning="learning.json"), synth=SynthConfig(generator="sd", steps=1))
    check_sources(config, tmp_path)
    x, y = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1])
    said: list[str] = []
    check_generator(config, tmp_path, Dataset("mine", x, y, x, y, ("cat", "dog")), np.array([0]), said.append)
    assert said[0].endswith(
        "sd: a StableDiffusionPipeline that others trained (licence: mit), not on this run's public part, so what it "
        "has seen is not known; num_inference_steps 1, guidance_scale 0"
    )
    with pytest.raises(DataError, match='class 1 of the data is named "1"'):  # before devices are measured
        check_generator(config, tmp_path, Dataset("mine", x, y, x, y, ("cat", "1")), np.array([0]))

    folder = RunDir.create(tmp_path, "r", now=0.0)
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=2)
    info = RunInfo(id="r", created="", base_dir="", network=network, class_names=("cat", "dog"), versions={})
    folder.save("run.json", info)
    keep_sources(config, tmp_path, folder)
    card = json.loads((folder.path / "generator-card.json").read_text())
    assert (card["class"], card["licence"]) == ("StableDiffusionPipeline", "mit")
    [(images, labels)] = synthetic_samples(config, tmp_path, folder, np.array([[2, 1]]), lambda _: None)
    assert (images.shape, labels.tolist()) == ((3, 8, 8, 1), [0, 0, 1])
    assert (images[0] != images[1]).any()


@pytest.mark.parametrize("own", [{"generator": "g.safetensors"}, {"pool": "mine"}, {"generator": "hub:a/b"}])
def test_the_worth_of_shipped_samples_is_not_that_of_ones_own(tmp_path: Path, own: dict[str, str]) -> None:
    with pytest.raises(DataError, match="is of the samples that ship, not of .*: measure one with fimi-server fit-"):
        learning_values(config_of(data=DataConfig(), synth=SynthConfig(**own)), tmp_path)
    curve, eta = learning_values(config_of(data=DataConfig()), tmp_path)
    assert curve.beta > 0
    assert 0 < eta <= 1


def test_a_pipeline_of_the_hub_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "learning.json").write_text(json.dumps({"alpha": 1, "beta": 0.5, "gamma": 0.1, "eta": 0.7}))
    synth = SynthConfig(generator="hub:someone/tiny")
    config = config_of(plan=PlanConfig(learning="learning.json"), synth=synth)
    check_sources(config, tmp_path)
    assert generator_source(config, tmp_path) == "hub:someone/tiny"


@pytest.mark.parametrize("gpu", [False, True])
def test_a_run_samples_on_a_gpu_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(sampler, "load_generator", lambda *own: given.append(own))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    (tmp_path / "generator.safetensors").write_bytes(b"")
    config = config_of(synth=SynthConfig(generator="generator.safetensors", steps=7, solver="ddim"))
    sources.run_generator(config, tmp_path, lambda: Wanted(("a",), (4, 4, 1)))
    [(path, sampling, hardware)] = given
    assert (path, sampling) == (tmp_path / "generator.safetensors", Sampling(7, 1.25, "ddim"))
    assert isinstance(hardware, Hardware)
    assert (hardware.device, hardware.compile) == ("cuda" if gpu else "cpu", False)


def test_selection_wraps_the_generator_and_needs_its_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shades = FakeGenerator()

    def not_asked() -> Wanted:
        raise AssertionError("only pipelines ask")

    monkeypatch.setattr(sampler, "load_generator", lambda *_: shades)
    (tmp_path / "generator.safetensors").write_bytes(b"")
    plain, selecting = (
        config_of(synth=SynthConfig(generator="generator.safetensors", select=select)) for select in (0.0, 0.5)
    )
    assert sources.run_generator(plain, tmp_path, not_asked) is shades
    with pytest.raises(DataError, match="no judges at .*which selection needs"):
        sources.run_generator(selecting, tmp_path, not_asked)
    given: list[tuple] = []

    class Seen:
        digest = "1" * 64

        def __init__(self, *own: object, **named: object) -> None:
            given.append((own[2], named))

    monkeypatch.setattr(selection, "load_judges", lambda folder: folder)
    monkeypatch.setattr(selection, "Selected", Seen)
    assert sources.run_generator(selecting, tmp_path, not_asked).digest == Seen.digest
    assert given == [(0.5, {"black_below": 0})]


def test_selection_judges_images_as_dark_as_the_pool_has_them(tmp_path: Path) -> None:
    kind = Kind("0" * 64, 1, (4, 4, 1), black_below=9, block=1)
    Store(tmp_path / "pool").write(kind, Block(0, 0), np.zeros((1, 4, 4, 1), np.uint8))
    for given, expected in ((None, 9), (3, 3)):
        config = config_of(synth=SynthConfig(pool="pool", select=0.5, black_below=given))
        assert sources.settled(config, tmp_path).black_below == expected
    assert sources.settled(config_of(synth=SynthConfig(pool="pool")), tmp_path).black_below is None
    other = Kind("1" * 64, 1, (4, 4, 1), black_below=5, block=1)
    Store(tmp_path / "pool").write(other, Block(0, 0), np.zeros((1, 4, 4, 1), np.uint8))
    with pytest.raises(DataError, match=r"samples with black_below \[5, 9\]: set synth\.black_below"):
        sources.settled(config_of(synth=SynthConfig(pool="pool", select=0.5)), tmp_path)


def test_judges_that_may_have_seen_the_devices_images_are_refused_before_these_are_measured(tmp_path: Path) -> None:
    x, y = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1])
    data = Dataset("mine", x, y, x, y, ("cat", "dog"))
    train_judges(public_part(data, 0.5, 0), tmp_path, JudgeSettings(1, "tiny", Recipe(steps=1, batch_size=2)))
    config = config_of(synth=SynthConfig(generator="generator.safetensors", select=0.5))
    with pytest.raises(DataError, match="trained on another public part: its judges may have seen"):
        check_generator(config, tmp_path, data, np.array([0, 1, 2]))
    with pytest.raises(ConfigError, match=r"hub:a/b has no place for judges\.safetensors; fetch it into a folder"):
        hub = config_of(synth=SynthConfig(generator="hub:a/b", select=0.5))
        check_generator(hub, tmp_path, data, np.array([0, 1, 2]))
