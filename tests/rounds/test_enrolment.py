"""Devices that cannot be planned for end the enrolment with a sentence that names them, before anything is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import Join, NetworkSpec, ProfileReport, ProfileRequest
from server.config import FleetConfig, RunConfig
from server.errors import FleetError
from server.pipeline import enrol
from server.progress import Progress
from server.rounds.aggregate import WeightedMean
from server.rounds.enrolment import check_able, enrol_devices
from server.rounds.round_run import RoundJob, RoundOutcome
from server.rounds.state import LastWord, UpdateArrived, open_round, step
from server.run_dir import RunDir
from server.steps import Run
from tests.rounds.fake_device import closed_of, join_of, profile_of, update_of
from tests.rounds.test_training import course

NETWORK = NetworkSpec(name="tiny", image_shape=(4, 4, 1), n_classes=2)
WEIGHTS = {"w": np.zeros(4, np.float32)}


def join(device: str, **able: object) -> Join:
    good = join_of(device, "r", (3, 1))
    return msgspec.structs.replace(good, capabilities=msgspec.structs.replace(good.capabilities, **able))


NO_CLOCK = (
    "b has no clock that can be set: give the user of its client write access to /sys/devices/system/cpu/cpufreq, "
    "or leave the device out"
)
NO_METER = (
    "c has no power meter (meter: none): no plan without joules; give it one that `fimi-client show` finds, "
    "or leave the device out"
)


class Fleet:
    """Answers at once: `joins`, profiles as `report` makes them, and a trial round in which all goes well."""

    def __init__(self, *joins: Join, mute: bool = False, empty: bool = False) -> None:
        self.joins = joins
        self.mute, self.empty = mute, empty
        self.asked = 0

    async def enrol(self, n_devices: int, timeout_s: float, ids: frozenset[str] = frozenset()) -> tuple[Join, ...]:
        return self.joins

    async def profile(self, requests: Mapping[str, ProfileRequest], timeout_s: float) -> dict[str, ProfileReport]:
        self.asked += 1
        reports = {}
        for device, request in requests.items():
            report = profile_of(device, request.run, () if self.empty else request.freqs_hz)
            if self.mute:
                points = tuple(msgspec.structs.replace(point, j_per_sample=None) for point in report.points)
                report = msgspec.structs.replace(report, points=points)
            reports[device] = report
        return reports

    async def run_round(self, job: RoundJob) -> RoundOutcome:
        state = open_round(job.run, job.round, frozenset(job.tasks), job.quorum)
        for device, task in job.tasks.items():
            state, _ = step(state, UpdateArrived(update_of(task, device, blob_ref(b"u", 64))))
            state, _ = step(state, LastWord(closed_of(task, device)))
        return RoundOutcome(state, WeightedMean(job.weights), (), 1.0)


async def enrolled(fleet: Fleet):
    config = RunConfig(fleet=FleetConfig(devices=len(fleet.joins)))
    return await enrol_devices(fleet, config, NETWORK, "r", WEIGHTS, 1)  # type: ignore[arg-type]


async def test_devices_that_can_be_planned_for_are_enrolled() -> None:
    assert [device.id for device in await enrolled(Fleet(join("a"), join("b")))] == ["a", "b"]


async def test_a_board_whose_clock_cannot_be_set_is_named_before_it_is_measured() -> None:
    fleet = Fleet(join("a"), join("b", opps_hz=()))
    with pytest.raises(FleetError) as refused:
        await enrolled(fleet)
    assert str(refused.value) == NO_CLOCK
    assert fleet.asked == 0


def test_every_device_that_lacks_something_is_named_at_once() -> None:
    lacking = (join("a"), join("b", opps_hz=()), join("c", meter="none", meter_source="unavailable", boundary=None))
    with pytest.raises(FleetError) as refused:
        check_able(lacking)
    assert str(refused.value) == f"{NO_CLOCK}; {NO_METER}"


async def test_a_meter_that_measures_nothing_is_found_out_too() -> None:
    with pytest.raises(FleetError, match=r"a has no power meter \(meter: fake\): no plan without joules"):
        await enrolled(Fleet(join("a"), mute=True))


async def test_a_profile_without_a_measurement_is_an_error_of_that_device() -> None:
    with pytest.raises(FleetError, match="the profile of a, b holds no measurement; see the log of its client"):
        await enrolled(Fleet(join("a"), join("b"), empty=True))


async def test_nothing_is_kept_of_devices_that_cannot_be_planned_for(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    of = course()
    run = Run(folder, of.config, tmp_path, Progress())
    with pytest.raises(FleetError, match="b has no clock that can be set"):
        await enrol(run, Fleet(join("a"), join("b", opps_hz=())), of)  # type: ignore[arg-type]
    assert not folder.has("devices.json")
    assert not (tmp_path / "registry.sqlite").exists()
