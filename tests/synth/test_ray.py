"""Two real Ray workers against one process, byte for byte; a worker that is lost, and those that cannot work."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.unet import UNetShape, build_unet
from server.config import SynthConfig
from server.errors import ConfigError, DataError
from server.learning.training import Recipe
from server.synth import checkpoint as checkpoints
from server.synth.diffusion import save_checkpoint
from server.synth.filling import Stock, fill, made_here
from server.synth.generator import Stop, Stopped, never
from server.synth.judges import JudgeSettings, train_judges
from server.synth.opening import Wanted, files_to_send, open_on
from server.synth.public import PublicPart
from server.synth.ray_workers import HERE, cluster, ray_maker
from server.synth.store import Block, Kind, Store
from tests.synth.fake_generator import FakeGenerator
from tests.synth.test_filling import files_of, grow, stock
from tests.synth.tiny_pipelines import save_class_pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' schedulers, numpy 2
]


@pytest.fixture(scope="module")
def connected() -> Iterator[Any]:
    """One Ray of two CPUs for all of these tests: it takes seconds to start."""
    with cluster(HERE, 2) as found:
        yield found


@pytest.mark.parametrize("select", [0.0, 0.4])
def test_two_workers_make_what_one_process_makes_byte_for_byte(
    connected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: float
) -> None:
    torch.manual_seed(0)
    shape = UNetShape(8, 1, 3, (32, 32), 1)
    checkpoint = tmp_path / "driver" / "generator.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "PART_BYTES", 300_000)
        save_checkpoint(checkpoint, build_unet(shape), shape)
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)
    part = PublicPart("noise", noise, np.arange(12) % 3, ("a", "b", "c"), 0.5, 0)
    judging = JudgeSettings(members=1, network="tiny", recipe=Recipe(steps=2, batch_size=4))
    judges = train_judges(part, checkpoint.parent, judging)
    synth = SynthConfig(steps=2, select=select)
    files = files_to_send(checkpoint, synth)
    assert len(files) > 1 + bool(select)
    assert (checkpoint.with_name("judges.safetensors") in files) == bool(select)
    load = partial(open_on, "cpu", synth, Wanted(("a", "b", "c"), (8, 8, 1)))
    generator = load(checkpoint)
    if select:
        unselected = open_on("cpu", SynthConfig(steps=2), Wanted((), (8, 8, 1)), checkpoint)
        drawn = unselected.sample(np.array([0, 0, 0, 0]), Block(0, 0).seeds(Kind("g", 3, (8, 8, 1), block=4)))
        assert (judges.recognised(drawn, np.array([0, 0, 0, 0])) < select).any()  # there is something to draw again
    kind, wanted, said = Kind(generator.digest, 3, (8, 8, 1), block=4), np.array([9, 4, 7]), list[str]()

    fill(Stock(kind, Store(tmp_path / "alone")), wanted, made_here(lambda: generator))
    maker = ray_maker(connected, load, checkpoint, files, workers=2, say=said.append)
    for file in files:
        file.unlink()  # as on machines that lack the driver's disk: all parts travel
    made = []
    fill(Stock(kind, Store(tmp_path / "ray")), wanted, maker, report=made.append)

    waited = "Ray has no worker ready yet: are there free CPUs or GPUs in the cluster?"  # said on a busy machine, too
    assert [line for line in said if line != waited] == ["Ray: 2 workers, 0 GPUs and 2 CPUs in the cluster"]
    assert (made[-1].done, made[-1].wanted, len(made)) == (24, 24, 6)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "alone")
    assert len(files_of(tmp_path / "ray")) == 7  # six blocks and the index


def test_workers_sample_a_pipeline_that_they_find_where_it_is(connected: Any, tmp_path: Path) -> None:
    folder = save_class_pipeline(tmp_path / "dit")
    assert files_to_send(folder, SynthConfig()) == []
    synth = SynthConfig(steps=1, labels={"a": 3, "b": 4, "c": 5})
    load = partial(open_on, "cpu", synth, Wanted(("a", "b", "c"), (8, 8, 1)))
    kind, wanted = Kind(load(folder).digest, 3, (8, 8, 1), block=2), np.array([3, 0, 2])

    fill(Stock(kind, Store(tmp_path / "alone")), wanted, made_here(lambda: load(folder)))
    maker = ray_maker(connected, load, folder, [], workers=2, say=lambda _: None)
    fill(Stock(kind, Store(tmp_path / "ray")), wanted, maker)

    assert files_of(tmp_path / "ray") == files_of(tmp_path / "alone")
    assert len(files_of(tmp_path / "ray")) == 4  # three blocks and the index


class Mortal(FakeGenerator):
    """Its process dies in the middle of the first block that anybody asks for; `scythe` tells that it is done."""

    def __init__(self, scythe: Path) -> None:
        super().__init__()
        self._scythe = scythe

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        try:
            self._scythe.touch(exist_ok=False)
        except FileExistsError:
            return super().sample(classes, seeds, stop)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")


class AllMortal(FakeGenerator):
    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")


def open_mortal(scythe: Path, _: Path) -> Mortal:
    return Mortal(scythe)


def open_doomed(_: Path) -> AllMortal:
    return AllMortal()


def open_broken(checkpoint: Path) -> FakeGenerator:
    raise DataError(f"{checkpoint.name} is no generator")


def test_what_a_lost_worker_had_in_hand_is_made_by_another(connected: Any, tmp_path: Path) -> None:
    said: list[str] = []
    maker = ray_maker(connected, partial(open_mortal, tmp_path / "done"), tmp_path, [], workers=2, say=said.append)
    fill(stock(tmp_path / "ray"), np.array([8, 4, 0]), maker)
    grow(stock(tmp_path / "alone"), [8, 4, 0])
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "alone")
    assert said[1].startswith("a Ray worker was lost, 1 left: ")


def test_what_workers_cannot_do_is_said_by_the_driver(connected: Any, tmp_path: Path) -> None:
    doomed = ray_maker(connected, open_doomed, tmp_path, [], workers=2, say=lambda _: None)
    with pytest.raises(DataError, match="all Ray workers were lost; what they made is kept"):
        fill(stock(tmp_path / "ray"), np.array([12, 0, 0]), doomed)
    broken = ray_maker(connected, open_broken, tmp_path / "x.safetensors", [], workers=1, say=lambda _: None)
    with pytest.raises(DataError, match=r"^x\.safetensors is no generator$"):
        fill(stock(tmp_path / "ray"), np.array([4, 0, 0]), broken)
    with pytest.raises(Stopped):
        fill(stock(tmp_path / "ray"), np.array([4, 0, 0]), broken, stop=lambda: True)
    assert not files_of(tmp_path)


@pytest.mark.parametrize(
    ("address", "why"),
    [("127.0.0.1:1", "Connection refused"), ("nowhere", "an address is auto, local or HOST:PORT")],
)
def test_an_address_where_nobody_answers_is_one_sentence(address: str, why: str) -> None:
    with (
        pytest.raises(ConfigError, match=rf"--ray {address}: no cluster answers \(.*{why}.*ray start --head"),
        cluster(address, None),
    ):
        raise AssertionError("connected")
