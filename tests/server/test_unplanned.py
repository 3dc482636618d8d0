"""Plain FL with devices whose joules nobody knows: planned beside the others, and nowhere a number for theirs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_client.protocol.messages import Segment
from server.errors import FleetError
from server.pipeline import describe_device
from server.plan.diagnosis import NoPlanError
from server.plan.problem import PlanRecord
from server.plan.solve import solve
from server.records import OwnPace
from server.replanning import replans
from server.rounds.training import describe_round, joules_of, make_job
from server.run_dir import Enrolled, StrategyPlan
from server.run_plans import describe_plan, make_plan, participants, plan_anew, terms_of
from server.strategies import plan_strategy, planned_work
from tests.rounds.fake_device import closed_of, profile_of
from tests.rounds.test_training import INITIAL, course
from tests.server.test_run_dir import record, weights
from tests.server.test_steps import enrolled, run_of


def blind(id_: str, s_per_sample: float = 0.01) -> Enrolled:
    """100 samples; no joules, no clock; 0.1 Mbit in 0.1 s."""
    known = enrolled(id_=id_)
    able = msgspec.structs.replace(
        known.join.capabilities, opps_hz=(), meter="none", meter_source="unavailable", boundary=None
    )
    (point,) = profile_of(id_, "r", ()).points
    point = msgspec.structs.replace(point, s_per_sample=s_per_sample, j_per_sample=None)
    idle = msgspec.structs.replace(known.profile.idle, energy_j=None, idle_power_w=None, source="unavailable")
    return msgspec.structs.replace(
        known,
        join=msgspec.structs.replace(known.join, capabilities=able),
        profile=msgspec.structs.replace(known.profile, idle=idle, points=(point,)),
        link=msgspec.structs.replace(known.link, power_w=None),
    )


def test_the_plan_is_of_the_others_and_says_so(tmp_path: Path) -> None:
    """Its own round: a needs 100 * 6.67 ms and 0.1 s, b and c 1 s and 0.1 s: half as much again is 1.65 s."""
    run = run_of(tmp_path, strategies=("tfl",))
    devices = (enrolled(id_="a"), blind("b"), blind("c"))
    plan = make_plan(run, "tfl", devices)
    assert [device.id for device in plan.plan.devices] == ["a"]
    assert plan.unplanned == tuple(OwnPace(id=id_, samples=100, compute_s=1.0, upload_s=0.1) for id_ in "bc")
    assert plan.round_s == pytest.approx(1.65)
    assert not plan.certified
    assert not replans(run, plan)
    assert make_plan(run, "tfl", ()) == plan  # as it is on disk
    alone = make_plan(run_of(tmp_path / "2", strategies=("tfl",)), "tfl", (enrolled(id_="a"),))
    assert plan.plan.executed_energy_j <= alone.plan.executed_energy_j  # it has more time
    joules = f"{plan.plan.executed_energy_j:.1f} J added"
    assert describe_plan(plan) == (
        f"plan tfl: {joules} on 1 of 3 devices a round of at most 1.7 s, 300 samples of which 0 synthetic; "
        "b, c at the board's own clock, without joules"
    )
    run.folder.save("devices.json", devices)
    plan_anew(run, ("tfl",))
    assert run.folder.plan("tfl").unplanned == plan.unplanned


def test_where_nobody_has_joules_there_is_still_a_plan(tmp_path: Path) -> None:
    run = run_of(tmp_path, strategies=("tfl", "tfl-top"))
    for strategy in ("tfl", "tfl-top"):
        plan = make_plan(run, strategy, (blind("b"), blind("c")))
        assert (plan.plan.devices, len(plan.unplanned)) == ((), 2)
        assert describe_plan(plan) == (
            f"plan {strategy}: joules not known, a round of at most 1.7 s, 200 samples of which 0 synthetic; "
            "b, c at the board's own clock, without joules"
        )


def test_a_strategy_that_weighs_joules_refuses_them(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with pytest.raises(FleetError, match=r"b has no power meter \(meter: none\): no plan without joules; give it"):
        make_plan(run, "fimi", (enrolled(id_="a"), blind("b")))
    terms = terms_of(run, (enrolled(id_="a"),))
    with pytest.raises(FleetError, match="fill needs joules, which are not known of b; leave the device out"):
        plan_strategy("fill", [], terms, solve, [OwnPace(id="b", samples=1, compute_s=0.1, upload_s=0.1)])


def test_one_that_cannot_be_in_time_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    """At 10 s a sample its round takes 1000.1 s, and the run allows 20."""
    for drop in (False, True):
        run = run_of(tmp_path / str(drop), strategies=("tfl",), drop_infeasible=drop)
        plan = msgspec.structs.replace(run.config.plan, round_s=20.0)
        object.__setattr__(run, "config", msgspec.structs.replace(run.config, plan=plan))
        devices = (enrolled(id_="a"), blind("b"), blind("c", s_per_sample=10.0))
        if drop:
            assert [device.id for device in participants(run, devices)] == ["a", "b"]
            continue
        with pytest.raises(NoPlanError) as late:
            make_plan(run, "tfl", participants(run, devices))
        assert late.value.devices == ("c",)
        assert str(late.value) == (
            "c would need 1000.1 s for a round of 20.0 s, at the clock that the board runs at; give plan.round_s more, "
            "or leave the device out"
        )


def test_they_are_asked_for_no_clock(tmp_path: Path) -> None:
    run = run_of(tmp_path, strategies=("tfl",))
    devices = (enrolled(id_="a"), blind("b"))
    tasks = make_job(course(), 7, 1, INITIAL, make_plan(run, "tfl", devices), devices, {}).tasks
    assert tasks["b"].segments == (Segment(freq_hz=None, samples=200),)
    assert (tasks["b"].local_samples, tasks["b"].synth_samples, tasks["b"].tx_power_w) == (100, 0, None)
    assert all(segment.freq_hz for segment in tasks["a"].segments)


PLAN = StrategyPlan(
    strategy="tfl", round_s=10.0, target_error=None, certified=False,
    plan=PlanRecord("none", "added", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    unplanned=(OwnPace(id="b", samples=100, compute_s=1.0, upload_s=0.5),),
)  # fmt: skip


def test_a_round_says_of_how_many_devices_its_joules_are() -> None:
    own = OwnPace(id="b", samples=4, compute_s=1.0, upload_s=0.5)
    assert planned_work(own).compute_j is None
    job = make_job(course(), 7, 1, INITIAL, PLAN, (blind("b"),), {})
    known, unknown = closed_of(job.tasks["b"], "a"), closed_of(job.tasks["b"], "b")
    unknown = msgspec.structs.replace(unknown, energy=msgspec.structs.replace(unknown.energy, energy_j=None))
    whole = record(1, weights(0.0))
    one = msgspec.structs.replace(
        whole, verdicts={"a": "accepted", "b": "accepted", "c": "none"}, closed=(known, unknown), stray=(),
        planned=whole.planned | {"b": planned_work(own)},
    )  # fmt: skip
    assert describe_round(one).endswith("8.0 J added on 1 of 3 devices (planned 1.5 on 1 of 2 devices)")
    none = msgspec.structs.replace(one, closed=(unknown,), planned={"b": planned_work(own)})
    assert describe_round(none).endswith("joules not known (planned without joules)")
    assert joules_of({"a": [1.0, 2.0], "b": []}, " J") == "3.0 J on 1 of 2 devices"


def test_a_device_is_described_without_a_clock_or_joules() -> None:
    assert "100.0 samples/s and ? J a sample at its own clock" in describe_device(blind("b"))
