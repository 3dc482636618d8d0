"""Steps on files alone: data dealt out, plans kept, shards as planned, devices left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_client.training.data import load
from server import cli, steps
from server.config import RunConfig, load_config
from server.data.dataset import Split
from server.errors import DataError, InfeasibleError
from server.progress import Progress
from server.rounds.samples import Shard
from server.run_dir import Enrolled, LinkMeasurement, RunDir
from server.run_plans import make_plan, participants, plan_anew
from server.steps import Run, cut, deal_private, make_shards, prepare_data
from tests.e2e.world import BOARDS, N_CLASSES, write_world
from tests.rounds.fake_device import join_of, profile_of
from tests.server.test_run_dir import record, weights

ALL = ("tfl", "fill", "fimi")


class Quiet(Progress):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def run_of(
    tmp_path: Path, *, drop_infeasible: bool = False, local_samples: int = 100, strategies: tuple[str, ...] = ALL
) -> Run:
    world = tmp_path / "world"
    file = write_world(world, rounds=1, strategies=list(strategies), local_samples=local_samples)
    folder = RunDir.create(tmp_path / "runs", "r", now=0.0)
    (folder.path / "config.toml").write_bytes(file.read_bytes())
    return Run(folder, load_config(file), world, Quiet(), drop_infeasible)


def enrolled(bits_per_s: float = 1e6, id_: str = "nano-1") -> Enrolled:
    counts = (60, 20, 10, 10)
    join = msgspec.structs.replace(join_of(id_, "r", counts), storage_samples=150)
    profile = profile_of(id_, "r", (0.6e9, 1.0e9, 1.5e9))
    return Enrolled(
        join=join, profile=profile, link=LinkMeasurement(up_bits=100_000, up_bits_per_s=bits_per_s, power_w=0.1)
    )


def test_boards_get_private_samples_once_each(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    data = prepare_data(run)
    split = cut(run.config, data)
    parts = deal_private(run.config, data, split, len(BOARDS))
    together = np.concatenate(parts)
    assert len(together) == len(set(together.tolist())) == 300
    assert not set(together.tolist()) & set(split.public.tolist())
    for board, part in zip(BOARDS, parts, strict=True):
        own = load(run.folder.path / "data" / f"{board}.npz")
        np.testing.assert_array_equal(own.images, data.x_train[part])
        assert own.n_classes == N_CLASSES


def test_of_groups_about_as_many_samples_are_dealt_as_asked_for(tmp_path: Path) -> None:
    """Tracks of five, 400 private samples: 3 devices of 40 get 24 tracks, none of them on two devices."""
    run = run_of(tmp_path)
    groups = np.arange(800) // 5
    data = replace(prepare_data(run), groups_train=groups)
    settings = msgspec.structs.replace(run.config.data, partition="groups", local_samples=40)
    split = Split(public=np.arange(400), private=np.arange(400, 800))
    parts = deal_private(msgspec.structs.replace(run.config, data=settings), data, split, 3)
    assert [len(part) for part in parts] == [40, 40, 40]
    tracks = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, tracks)) == len(set.union(*tracks)) == 24
    assert min(part.min() for part in parts) >= 400


def test_more_than_there_is_cannot_be_dealt(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    config = msgspec.structs.replace(run.config, data=msgspec.structs.replace(run.config.data, local_samples=500))
    data = prepare_data(run)
    with pytest.raises(DataError, match="3 devices of 500 samples need 1500"):
        deal_private(config, data, cut(config, data), 3)


def test_plans_and_shards_are_kept_and_found_again(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    data = prepare_data(run)
    devices = (enrolled(id_="a"), enrolled(id_="b"))
    plan = make_plan(run, "fimi", devices)
    assert plan.certified
    assert make_plan(run, "fimi", ()) == plan  # from its file: the devices are not looked at
    shards = make_shards(run, "fimi", plan, data)
    for device in plan.plan.devices:
        labels = shards[device.id].labels
        assert np.bincount(labels, minlength=N_CLASSES).tolist() == list(device.synth_counts)
    assert make_shards(run, "fimi", plan, data) == shards
    fill = make_plan(run, "fill", devices)
    assert make_shards(run, "fill", fill, data) == shards  # the same counts, the same samples
    assert make_shards(run, "tfl", make_plan(run, "tfl", devices), data) == {}
    assert make_shards(run, "tfl", make_plan(run, "tfl", devices), data, anew=True) == {}


def test_a_plan_says_whose_upload_it_takes_for_free(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    device = enrolled(id_="b")
    link = msgspec.structs.replace(device.link, power_w=None)
    make_plan(run, "tfl", (enrolled(id_="a"), msgspec.structs.replace(device, link=link)))
    assert isinstance(run.progress, Quiet)
    assert run.progress.said[0] == "the upload power of b could not be measured: tfl plans it as free"


def counts_of(shards: dict[str, Shard]) -> dict[str, tuple[int, ...]]:
    return {id_: tuple(np.bincount(own.labels, minlength=N_CLASSES).tolist()) for id_, own in shards.items()}


def test_a_new_plan_gets_new_shards(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    data = prepare_data(run)
    devices = (enrolled(id_="a"), enrolled(id_="b"))
    run.folder.save("devices.json", devices)
    old = make_shards(run, "fimi", make_plan(run, "fimi", devices), data)
    run.folder.save_arrays("shards/fimi/of.before.npz", x=np.zeros((1, 12, 12, 1), np.uint8), y=np.zeros(1, np.int64))
    less = Run(run.folder, with_plan(run, fill_factor=1.2), run.base, run.progress)
    plan_anew(less, ("fimi",))
    plan = run.folder.plan("fimi")
    wanted = {device.id: device.synth_counts for device in plan.plan.devices}
    assert wanted != counts_of(old)
    assert counts_of(make_shards(less, "fimi", plan, data)) == wanted
    assert sorted(file.name for file in (run.folder.path / "shards" / "fimi").iterdir()) == ["a.npz", "b.npz"]


def test_what_is_on_disk_stays_until_all_is_solved(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    prepare_data(run)
    devices = (enrolled(id_="a"), enrolled(id_="b"))
    run.folder.save("devices.json", devices)
    run.folder.save("left-out.json", {"b": "too slow"})
    for strategy in ALL:
        make_plan(run, strategy, participants(run, devices))
    before = {file.name: file.read_bytes() for file in run.folder.path.glob("*.json")}
    with pytest.raises(InfeasibleError):
        plan_anew(Run(run.folder, with_round(run, 0.001), run.base, run.progress), ALL)
    assert {file.name: file.read_bytes() for file in run.folder.path.glob("*.json")} == before
    plan_anew(run, ALL)
    assert not run.folder.has("left-out.json")
    assert [device.id for device in run.folder.plan("fimi").plan.devices] == ["a", "b"]


def test_shards_stay_until_new_ones_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path)
    data = prepare_data(run)
    plan = make_plan(run, "fimi", (enrolled(id_="a"),))
    shards = make_shards(run, "fimi", plan, data)

    def broken(*_: object) -> None:
        raise DataError("the pool is gone")

    monkeypatch.setattr(steps, "synthetic_samples", broken)
    with pytest.raises(DataError, match="the pool is gone"):
        make_shards(run, "fimi", plan, data, anew=True)
    assert make_shards(run, "fimi", plan, data) == shards


def test_a_strategy_planned_later_is_held_to_the_same_round(tmp_path: Path) -> None:
    """fimi has begun and is kept; its synthetic samples still decide how long a round of tfl may be."""
    run = run_of(tmp_path, strategies=("fimi", "tfl"))
    prepare_data(run)
    devices = (enrolled(id_="a"), enrolled(id_="b"))
    run.folder.save("devices.json", devices)
    fimi = make_plan(run, "fimi", devices)
    run.folder.save_round(msgspec.structs.replace(record(1, weights(1)), strategy="fimi"), weights(1))
    assert cli.main(["plan", str(run.folder.path)]) == 0
    assert run.folder.plan("tfl").round_s == fimi.round_s


def test_an_impossible_device_ends_the_run_or_is_left_out_by_name(tmp_path: Path) -> None:
    slow = enrolled(bits_per_s=10.0, id_="slow")  # 10,000 s for its upload
    devices = (enrolled(id_="a"), slow)
    run = run_of(tmp_path / "strict")
    run = Run(run.folder, with_round(run, 5.0), run.base, run.progress)
    assert participants(run, devices) == devices
    with pytest.raises(InfeasibleError, match="slow"):
        make_plan(run, "tfl", devices)

    run = run_of(tmp_path / "drop", drop_infeasible=True)
    run = Run(run.folder, with_round(run, 5.0), run.base, run.progress, drop_infeasible=True)
    assert [device.id for device in participants(run, devices)] == ["a"]
    assert run.folder.load("left-out.json", dict[str, str]).keys() == {"slow"}
    again = Run(run.folder, run.config, run.base, run.progress)
    assert [device.id for device in participants(again, devices)] == ["a"]
    assert [d.id for d in make_plan(run, "tfl", participants(run, devices)).plan.devices] == ["a"]


def test_nobody_left_is_still_an_error(tmp_path: Path) -> None:
    run = run_of(tmp_path, drop_infeasible=True)
    run = Run(run.folder, with_round(run, 5.0), run.base, run.progress, drop_infeasible=True)
    with pytest.raises(InfeasibleError):
        participants(run, (enrolled(bits_per_s=10.0),))
    assert not run.folder.has("left-out.json")


def with_plan(run: Run, **plan: float) -> RunConfig:
    return msgspec.structs.replace(run.config, plan=msgspec.structs.replace(run.config.plan, **plan))


def with_round(run: Run, round_s: float) -> RunConfig:
    return with_plan(run, round_s=round_s)


def test_a_pool_of_other_images_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    data = prepare_data(run)
    plan = make_plan(run, "fimi", (enrolled(),))
    name = run.folder.shard_name("fimi", "nano-1")
    labels = np.repeat(np.arange(N_CLASSES), plan.plan.devices[0].synth_counts)
    run.folder.save_arrays(name, x=np.zeros((len(labels), 5, 5, 1), np.uint8), y=labels)
    with pytest.raises(DataError, match=r"images \(5, 5, 1\), the data set has \(12, 12, 1\)"):
        make_shards(run, "fimi", plan, data)
