"""Devices that cannot be planned for end the enrolment with a sentence that names them, before anything is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import Join, NetworkSpec, OppPoint, ProfileReport, ProfileRequest, Segment
from server.config import FleetConfig, PlanConfig, ProfileConfig, RunConfig, Strategy
from server.errors import FleetError
from server.measured import measured_table, opp_table, planner_device
from server.pipeline import enrol
from server.plan.problem import PlannedSegment
from server.plan.solve import solve
from server.progress import Progress
from server.rounds.aggregate import WeightedMean
from server.rounds.enrolment import check_able, enrol_devices
from server.rounds.round_run import RoundJob, RoundOutcome
from server.rounds.state import LastWord, UpdateArrived, open_round, step
from server.rounds.tasks import planned_share
from server.run_dir import OwnPace, RunDir
from server.steps import Run
from server.strategies import plan_strategy, settle_terms
from server.unplanned import own_pace
from tests.rounds.fake_device import closed_of, join_of, profile_of, update_of
from tests.rounds.test_training import course

NETWORK = NetworkSpec(name="tiny", image_shape=(4, 4, 1), n_classes=2)
WEIGHTS = {"w": np.zeros(4, np.float32)}


def join(device: str, **able: object) -> Join:
    good = join_of(device, "r", (3, 1))
    return msgspec.structs.replace(good, capabilities=msgspec.structs.replace(good.capabilities, **able))


NO_METER = (
    "c has no power meter (meter: none): no plan without joules; give it a meter that `fimi-client doctor` finds, or "
    "`calibration` in its client.toml (fimi-calibrate makes it), or leave the device out; "
    'strategy = "tfl" alone needs no joules'
)
BLIND = {"meter": "none", "meter_source": "unavailable", "boundary": None}


class Fleet:
    """Answers at once: `joins`, profiles as `report` makes them, and a trial round in which all goes well."""

    def __init__(self, *joins: Join, mute: bool = False, empty: bool = False, slower: float = 1.0) -> None:
        self.joins = joins
        self.mute, self.empty, self.slower = mute, empty, slower
        self.asked: list[dict[str, tuple[float, ...]]] = []
        self.weightless = False
        self.trials: list[tuple[str, ...]] = []
        self.patience_s: list[float] = []
        self.noticed: list[tuple[str, dict[str, object]]] = []

    async def enrol(self, n_devices: int, timeout_s: float, ids: frozenset[str] = frozenset()) -> tuple[Join, ...]:
        return self.joins

    def offer(self, graphs: Mapping[str, bytes], chunk_bytes: int) -> None:
        self.offered = dict(graphs)

    def notice(self, kind: str, **fields: object) -> None:
        self.noticed.append((kind, fields))

    async def profile(self, requests: Mapping[str, ProfileRequest], timeout_s: float) -> dict[str, ProfileReport]:
        self.patience_s.append(timeout_s)
        self.asked.append({device: request.freqs_hz for device, request in requests.items()})
        blind = {one.device for one in self.joins if one.capabilities.meter_source == "unavailable"}
        reports = {}
        for device, request in requests.items():
            report = profile_of(device, request.run, request.freqs_hz)
            points = () if self.empty else report.points
            if self.mute or device in blind:
                points = tuple(msgspec.structs.replace(point, j_per_sample=None) for point in points)
            if device in blind:
                idle = msgspec.structs.replace(report.idle, energy_j=None, idle_power_w=None, source="unavailable")
                report = msgspec.structs.replace(report, idle=idle)
            reports[device] = msgspec.structs.replace(report, points=tuple(map(self._slowed, points)))
        return reports

    def _slowed(self, point: OppPoint) -> OppPoint:
        """So many times the seconds, at the same watts."""
        joules = None if point.j_per_sample is None else point.j_per_sample * self.slower
        return msgspec.structs.replace(point, s_per_sample=point.s_per_sample * self.slower, j_per_sample=joules)

    async def run_round(self, job: RoundJob) -> RoundOutcome:
        self.trials.append(tuple(job.tasks))
        state = open_round(job.run, job.round, frozenset(job.tasks), job.quorum)
        for device, task in job.tasks.items():
            update = update_of(task, device, blob_ref(b"u", 64))
            if self.weightless:
                update = msgspec.structs.replace(update, upload=msgspec.structs.replace(update.upload, bits=0))
            state, _ = step(state, UpdateArrived(update))
            state, _ = step(state, LastWord(closed_of(task, device)))
        return RoundOutcome(state, WeightedMean(job.weights), (), 1.0)


async def enrolled(fleet: Fleet, strategy: Strategy | tuple[Strategy, ...] = "fimi", freqs: int = 3):
    config = RunConfig(
        strategy=strategy,
        fleet=FleetConfig(devices=len(fleet.joins)),
        profile=ProfileConfig(freqs=freqs, slowest=0.3),
    )
    return await enrol_devices(fleet, config, NETWORK, "r", WEIGHTS, 1)  # type: ignore[arg-type]


async def test_devices_that_can_be_planned_for_are_enrolled() -> None:
    assert [device.id for device in await enrolled(Fleet(join("a"), join("b")))] == ["a", "b"]


@pytest.mark.parametrize(
    ("shared", "trials"), [(None, [("a", "b")]), (1e6, [("a",), ("b",)])], ids=["own links", "one for all"]
)
async def test_devices_that_share_a_link_are_tried_one_after_another(
    shared: float | None, trials: list[tuple[str, ...]]
) -> None:
    fleet = Fleet(join("a"), join("b"))
    config = RunConfig(fleet=FleetConfig(devices=2, shared_link_bits_per_s=shared))
    found = await enrol_devices(fleet, config, NETWORK, "r", WEIGHTS, 1)  # type: ignore[arg-type]
    assert fleet.trials == trials
    assert [device.link.up_bits_per_s > 0 for device in found] == [True, True]


async def test_a_trial_upload_without_bits_is_refused_by_name() -> None:
    fleet = Fleet(join("a"), join("b"))
    fleet.weightless = True
    with pytest.raises(FleetError, match="the trial upload of a, b had no bits"):
        await enrolled(fleet)


async def test_a_profile_has_time_for_a_second_window_at_each_clock() -> None:
    """An idle window and twice three of 4 s after 1 s, four times as long, and five minutes to begin with."""
    fleet = Fleet(join("a"))
    await enrolled(fleet)
    assert fleet.patience_s == [300.0 + 4 * 7 * 5.0]


async def test_a_board_whose_clock_cannot_be_set_is_planned_with_its_one_operating_point() -> None:
    fleet = Fleet(join("a"), join("b", opps_hz=()))
    a, b = await enrolled(fleet)
    assert fleet.asked == [{"a": (1.5e9, 1.0e9, 0.5e9), "b": ()}]
    table = opp_table(b)  # 1e7 cycles at the 1 GHz of its own: 10 ms and 4 W
    assert np.isnan(table.freq_hz).tolist() == [True]  # which clock that is, nobody was told
    assert table.s_per_sample.tolist() == [0.01]
    assert table.j_per_sample == pytest.approx([0.04])
    devices = [planner_device(device, 0) for device in (a, b)]
    terms = settle_terms(devices, PlanConfig(round_s=1.0), learning=None, local_epochs=2)
    plan = plan_strategy("tfl", devices, terms, solve)
    assert plan.plan.devices[1].executed_compute_j == pytest.approx(4 * 2 * (0.04 - 0.02))
    assert plan.plan.devices[1].segments == (PlannedSegment(None, 8),)
    written = msgspec.json.decode(msgspec.json.encode(plan))
    assert written["plan"]["devices"][1]["segments"] == [{"freq_hz": None, "samples": 8}]
    top = plan_strategy("tfl-top", devices, terms, solve).plan.devices[1]
    assert top.segments == (PlannedSegment(None, 8),)
    assert planned_share(plan.plan.devices[1], settable=False).segments == (Segment(freq_hz=None, samples=8),)


def test_every_device_without_joules_is_named_where_a_plan_needs_them() -> None:
    lacking = (join("a"), join("b", opps_hz=()), join("c", **BLIND), join("d", opps_hz=(), **BLIND))
    for strategies in (("tfl", "fimi"), ("fill",)):
        with pytest.raises(FleetError) as refused:
            check_able(lacking, strategies)
        assert str(refused.value) == f"{NO_METER}; {NO_METER.replace('c has', 'd has')}"
    check_able(lacking, ("tfl", "tfl-top"))


async def test_they_are_refused_before_anything_is_measured() -> None:
    fleet = Fleet(join("a"), join("c", **BLIND))
    with pytest.raises(FleetError, match="c has no power meter"):
        await enrolled(fleet)
    assert fleet.asked == []


async def test_plain_fl_takes_them_as_they_are() -> None:
    """A board that has a clock but no joules to weigh it by is timed as it runs."""
    fleet = Fleet(join("a"), join("c", **BLIND), join("d", opps_hz=(), **BLIND))
    a, c, d = await enrolled(fleet, "tfl")
    assert fleet.asked == [{"a": (1.5e9, 1.0e9, 0.5e9), "c": (), "d": ()}]
    assert measured_table(a) is not None
    assert (measured_table(c), measured_table(d)) == (None, None)
    # 4 samples twice at 10 ms; 8 bits a byte of "u" in half a second
    assert own_pace(c, local_epochs=2) == OwnPace(id="c", samples=4, compute_s=pytest.approx(0.08), upload_s=0.5)


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
    with pytest.raises(FleetError, match="b has no power meter"):
        await enrol(run, Fleet(join("a"), join("b", **BLIND)), of)  # type: ignore[arg-type]
    assert not folder.has("devices.json")
    assert not (tmp_path / "registry.sqlite").exists()
