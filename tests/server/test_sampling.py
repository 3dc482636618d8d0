"""What devices get: ready samples first, the rest made once and found again by other runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_client.protocol.messages import NetworkSpec
from server import sources
from server.config import DataConfig, SynthConfig
from server.data.dataset import Dataset
from server.errors import DataError
from server.run_dir import RunDir, RunInfo
from server.sampling import check_samples, open_supply, ready_pool, sample_ahead, synthetic_samples
from server.steps import with_fresh
from server.synth.generator import Stop, never
from server.synth.opening import Wanted
from server.synth.store import Block, Kind, Store
from tests.server.test_sources import config_of, pool_of
from tests.synth.stores import write_pool

NO_SAY = lambda _: None  # noqa: E731
WANTED = Wanted(("a", "b"), (4, 4, 1))


def test_samples_come_from_the_pool(tmp_path: Path) -> None:
    pool_of(tmp_path / "pool", 5)
    config = config_of(synth=SynthConfig(pool="pool"))
    counts = np.array([[3, 0], [1, 5]])
    folder = RunDir.create(tmp_path, "r", now=0.0)
    shards = synthetic_samples(config, tmp_path, folder, counts, NO_SAY)
    for (images, labels), wanted in zip(shards, counts, strict=True):
        assert np.bincount(labels, minlength=2).tolist() == wanted.tolist()
        assert (images[:, 0, 0, 0] == 10 * labels).all()


def test_it_is_said_where_devices_share_samples(tmp_path: Path, shades: Shades) -> None:
    """Without a pool they are dealt from as many as the most demanding one wants, in whole blocks of 50."""
    said: list[str] = []
    for name, counts in (("few", [[30, 0], [20, 0]]), ("many", [[60, 10], [60, 10]])):
        synthetic_samples(config_of(), tmp_path, run_in(tmp_path / "runs", name), np.array(counts), said.append)
        notes = [line for line in said if "share" in line]
        assert len(notes) == (name == "many")
    assert "devices share samples, 120 different ones of 140, which the plan takes for all different" in notes[0]


def test_a_pool_that_does_not_reach_needs_a_generator(tmp_path: Path) -> None:
    pool_of(tmp_path / "pool", 2)
    folder = RunDir.create(tmp_path, "r", now=0.0)
    with pytest.raises(DataError, match="no generator for"):
        synthetic_samples(config_of(synth=SynthConfig(pool="pool")), tmp_path, folder, np.array([[3, 0]]), NO_SAY)


class Shades:
    """A generator of what the pool does not hold: the class above 100. `made`: how many samples it was asked for."""

    def __init__(self, digest: str = "0" * 64) -> None:
        self.digest = digest
        self.made = 0

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        self.made += len(classes)
        return np.broadcast_to((100 + classes)[:, None, None, None], (len(classes), 4, 4, 1)).astype(np.uint8)


@pytest.fixture
def shades(monkeypatch: pytest.MonkeyPatch) -> Shades:
    generator = Shades()
    monkeypatch.setattr(sources, "run_generator", lambda *_: generator)
    return generator


def run_in(out: Path, name: str = "r") -> RunDir:
    folder = RunDir.create(out, name, now=0.0)
    network = NetworkSpec(name="tiny", image_shape=(4, 4, 1), n_classes=2)
    folder.save("run.json", RunInfo(id=name, created="", base_dir="", network=network, class_names=(), versions={}))
    return folder


def bits(shards: list[tuple[np.ndarray, np.ndarray]]) -> list[bytes]:
    return [images.tobytes() + labels.tobytes() for images, labels in shards]


def test_fresh_samples_are_none_of_the_pools_even_where_the_run_grew_one(tmp_path: Path, shades: Shades) -> None:
    pool_of(tmp_path / "pool", 2)
    folder = run_in(tmp_path)
    config = config_of(synth=SynthConfig(pool="pool"))
    counts = np.array([[4, 0], [1, 2]])
    grown = synthetic_samples(config, tmp_path, folder, counts, NO_SAY)
    assert sorted(grown[0][0][:, 0, 0, 0].tolist()) == [0, 0, 100, 100]  # two of the pool, two made by the run
    assert shades.made == 2
    for (images, labels), wanted in zip(
        synthetic_samples(with_fresh(config), tmp_path, folder, counts, NO_SAY), counts, strict=True
    ):
        assert np.bincount(labels, minlength=2).tolist() == wanted.tolist()
        assert (images[:, 0, 0, 0] == 100 + labels).all()
    again = synthetic_samples(config, tmp_path, folder, counts, NO_SAY)
    np.testing.assert_array_equal(again[0][0], grown[0][0])


def test_the_next_run_makes_nothing_that_one_before_it_made(tmp_path: Path, shades: Shades) -> None:
    config = config_of(synth=SynthConfig(generator="g.safetensors"))
    (tmp_path / "g.safetensors").touch()
    counts = np.array([[60, 3], [2, 0]])  # whole blocks of 50: 100 of class 0 and 50 of class 1
    first = synthetic_samples(config, tmp_path, run_in(tmp_path / "runs"), counts, NO_SAY)
    assert shades.made == 150
    assert Store(tmp_path / "runs" / "samples").counts(Kind("0" * 64, 2, (4, 4, 1))).tolist() == [100, 50]
    other = run_in(tmp_path / "runs", "other")
    assert bits(synthetic_samples(config, tmp_path, other, counts, NO_SAY)) == bits(first)
    assert shades.made == 150
    elsewhere = msgspec.structs.replace(config, synth=SynthConfig(generator="g.safetensors", store="kept"))
    assert bits(synthetic_samples(elsewhere, tmp_path, other, counts, NO_SAY)) == bits(first)
    assert shades.made == 300
    assert Store(tmp_path / "kept").counts(Kind("0" * 64, 2, (4, 4, 1))).tolist() == [100, 50]


def test_a_store_that_holds_more_deals_the_same(tmp_path: Path, shades: Shades) -> None:
    """Class 1 has three blocks in one of two stores: a run that wants one block deals from that one alone."""
    counts = np.array([[0, 20], [0, 20]])
    kind = Kind("0" * 64, 2, (4, 4, 1))
    rng = np.random.default_rng(0)
    blocks = [rng.integers(0, 256, (50, 4, 4, 1), dtype=np.uint8) for _ in range(3)]
    dealt = []
    for name, held in (("little", 1), ("much", 3)):
        for at in range(held):
            Store(tmp_path / name).write(kind, Block(1, 50 * at), blocks[at])
        config = config_of(synth=SynthConfig(generator="g.safetensors", store=name))
        dealt.append(bits(synthetic_samples(config, tmp_path, run_in(tmp_path, name), counts, NO_SAY)))
    assert dealt[0] == dealt[1]
    assert shades.made == 0


def test_with_fresh_no_two_devices_share_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Numbered(Shades):
        def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
            return np.broadcast_to((seeds % 2**26)[:, None, None, None], (len(seeds), 4, 4, 1)).astype(np.uint8)

    monkeypatch.setattr(sources, "run_generator", lambda *_: Numbered())
    config = config_of(synth=SynthConfig(generator="g.safetensors"))
    counts = np.array([[40, 0], [40, 0]])
    shared = synthetic_samples(config, tmp_path, run_in(tmp_path), counts, NO_SAY)
    apart = synthetic_samples(with_fresh(config), tmp_path, run_in(tmp_path, "s"), counts, NO_SAY)
    seen, own = ([set(images[:, 0, 0, 0].tolist()) for images, _ in shards] for shards in (shared, apart))
    assert [len(one) for one in (*seen, *own)] == [40] * 4
    assert len(seen[0] | seen[1]) == 50  # one block is all there is
    assert not own[0] & own[1]


def test_what_is_made_ahead_is_what_is_wanted_then(tmp_path: Path, shades: Shades) -> None:
    config = config_of(synth=SynthConfig(generator="g.safetensors"))
    folder, counts = run_in(tmp_path), np.array([[60, 0], [10, 0]])
    supply = open_supply(config, tmp_path, folder)
    sample_ahead(supply, counts, 0, stop=never, report=NO_SAY)
    assert shades.made == 100
    synthetic_samples(config, tmp_path, folder, counts, NO_SAY)
    assert shades.made == 100
    sample_ahead(supply, counts, 1, stop=never, report=NO_SAY)  # one block more of the class that is in use
    assert supply.stock.own.counts(supply.stock.kind).tolist() == [150, 0]


def test_of_several_kinds_in_a_pool_a_run_takes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        write_pool(
            tmp_path / "pool", [np.full((3, 4, 4, 1), 10 * number + c, np.uint8) for c in range(2)], f"g{number}"
        )
    without = config_of(synth=SynthConfig(pool="pool"))
    with pytest.raises(DataError, match=r"several kinds of samples that would do \(g1/seed-0-black-0-by-3, g2/"):
        open_supply(without, tmp_path, run_in(tmp_path))
    monkeypatch.setattr(sources, "run_generator", lambda *_: Shades("g2"))
    config = config_of(synth=SynthConfig(pool="pool", generator="g.safetensors"))
    [(images, _)] = synthetic_samples(config, tmp_path, run_in(tmp_path, "s"), np.array([[1, 1]]), NO_SAY)
    assert images[:, 0, 0, 0].tolist() == [20, 21]
    assert [own[0, 0, 0, 0] for own in ready_pool(config, tmp_path, WANTED).images] == [20, 21]
    with pytest.raises(DataError, match="no samples with black_below 9"):
        ready_pool(config_of(synth=SynthConfig(pool="pool", black_below=9)), tmp_path, WANTED)


def test_a_pool_of_other_prompts_is_not_a_pipelines(tmp_path: Path, shades: Shades) -> None:
    pool_of(tmp_path / "pool", 2)
    shades.digest = "1" * 64
    (tmp_path / "sd").mkdir()
    config = config_of(synth=SynthConfig(pool="pool", generator="sd"))
    with pytest.raises(DataError, match="was not made by this run's generator with these prompts or labels, steps and"):
        open_supply(config, tmp_path, run_in(tmp_path))
    data = Dataset("mine", *[np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1])] * 2, ("cat", "dog"))
    with pytest.raises(DataError, match="set synth.fresh = true"):  # before any device is measured
        check_samples(config, tmp_path, data)
    assert check_samples(with_fresh(config), tmp_path, data) == "1" * 64
    assert check_samples(msgspec.structs.replace(config, strategy="tfl"), tmp_path, data) is None
    shades.digest = "0" * 64
    assert check_samples(config, tmp_path, data) == "0" * 64


def test_a_pool_of_other_images_is_refused_before_devices_are_measured(tmp_path: Path) -> None:
    pool_of(tmp_path / "pool", 2)
    config = config_of(synth=SynthConfig(pool="pool"))
    for side, names in ((4, ("cat", "dog", "cow")), (5, ("cat", "dog"))):
        data = Dataset("mine", *[np.zeros((3, side, side, 1), np.uint8), np.arange(3) % len(names)] * 2, names)
        with pytest.raises(DataError, match=r"the pool's samples are \(4, 4, 1\) of 2 classes, mine is "):
            check_samples(config, tmp_path, data)


def test_measurements_take_the_pool_that_a_run_would(tmp_path: Path, shades: Shades) -> None:
    shipped = config_of(data=DataConfig(), synth=SynthConfig(generator="mine.safetensors"))
    with pytest.raises(DataError, match="no pool for fashion-mnist: make one"):  # not the one that ships
        ready_pool(shipped, tmp_path, WANTED)
    pool_of(tmp_path / "pool", 2)
    shades.digest = "1" * 64
    config = config_of(synth=SynthConfig(generator="mine.safetensors", pool="pool"))
    with pytest.raises(DataError, match="was not made by this run's generator"):
        ready_pool(config, tmp_path, WANTED)


def test_samples_of_ones_own_are_as_dark_as_the_pools(tmp_path: Path, shades: Shades) -> None:
    kind = Kind("1" * 64, 2, (4, 4, 1), black_below=101, block=2)
    Store(tmp_path / "pool").write(kind, Block(0, 0), np.zeros((2, 4, 4, 1), np.uint8))
    for given, expected in ((None, {0, 101}), (0, {100, 101})):
        config = with_fresh(config_of(synth=SynthConfig(pool="pool", black_below=given)))
        [(images, _)] = synthetic_samples(config, tmp_path, run_in(tmp_path, f"r{given}"), np.array([[1, 1]]), NO_SAY)
        assert set(images[:, 0, 0, 0].tolist()) == expected


def test_the_pool_that_ships_is_that_of_the_generator_that_ships(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    [(images, labels)] = synthetic_samples(config_of(data=DataConfig()), tmp_path, folder, np.array([[1] * 10]), NO_SAY)
    assert (images.shape, labels.tolist()) == ((10, 28, 28, 1), list(range(10)))
    other = config_of(data=DataConfig(), synth=SynthConfig(guidance=4.0))
    with pytest.raises(DataError, match="was not made by this run's generator with 20 steps, guidance 4:"):
        synthetic_samples(other, tmp_path, folder, np.array([[1] * 10]), NO_SAY)
