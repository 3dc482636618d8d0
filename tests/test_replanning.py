"""When a plan is revised between rounds, and what a plan costs on a board that is not as profiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from server.errors import InfeasibleError
from server.plan.problem import Device, DevicePlan, OppTable, Plan, PlannedSegment, Radio
from server.records import LinkShare, PlannedWork, RoundRecord, StrategyPlan
from server.replanning import believe, cost, revise
from tests.test_closed_loop import segment, update

BOARD = Device(
    id="a",
    local_counts=np.array([100], dtype=np.int32),
    storage_samples=10,
    upload_bits=800.0,
    cpu=OppTable(np.array([0.5e9, 1e9]), np.array([0.2, 0.1]), np.array([0.8, 0.6]), power_idle_w=2.0),
    radio=Radio(kind="wired", overhead_w=1.0, link_bits_per_s=100.0),
)


def plan(freq_hz: float = 1e9, energy_j: float = 48.0, round_s: float = 30.0) -> StrategyPlan:
    """100 samples at one clock; at 1 GHz 10 s and, over 2 W idle, 40 J; then 8 s of upload at 1 W."""
    share = DevicePlan(
        id="a",
        samples=100.0,
        compute_s=10.0,
        upload_s=8.0,
        bandwidth_hz=0.0,
        tx_power_w=None,
        compute_j=40.0,
        upload_j=8.0,
        executed_samples=100,
        segments=(PlannedSegment(freq_hz, 100),),
        executed_compute_s=10.0,
        executed_compute_j=40.0,
        synth_counts=(0,),
    )
    return StrategyPlan(
        strategy="fimi",
        round_s=round_s,
        target_error=None,
        certified=True,
        plan=Plan("exact", "added", energy_j, energy_j, 0.0, energy_j, 0.0, 0.0, 0.0, 0.0, (share,)),
    )


def record(number: int, *, seconds: float = 10.0, joules: float = 60.0, verdict: str = "accepted") -> RoundRecord:
    """A round in which the board trained its 100 samples at 1 GHz in `seconds` for `joules`."""
    return RoundRecord(
        strategy="fimi",
        round=number,
        wire_round=number,
        status="complete",
        started_at=0.0,
        duration_s=20.0,
        accuracy=0.5,
        loss=1.0,
        test_samples=10,
        verdicts={"a": verdict},
        updates=(update(segment(1e9, 100, seconds, joules)),),
        closed=(),
        stray=(),
        lost=(),
        planned={},
        model_digest="0" * 64,
    )


class Planner:
    """Answers with one plan, or with the planner's refusal; remembers for what devices it was asked."""

    def __init__(self, answer: StrategyPlan | InfeasibleError) -> None:
        self.answer, self.asked = answer, list[Device]()

    def __call__(self, devices: Sequence[Device]) -> StrategyPlan:
        self.asked = list(devices)
        if isinstance(self.answer, InfeasibleError):
            raise self.answer
        return self.answer


def test_cost_by_hand() -> None:
    share = plan().plan.devices[0]
    assert cost(share, BOARD, 8.0, added=True) == pytest.approx((100 * (0.6 - 0.2) + 8.0, 18.0))
    assert cost(share, BOARD, 8.0, added=False) == pytest.approx((60.0 + 8.0 * 3.0, 18.0))
    both = replace(share, segments=(PlannedSegment(1e9, 60), PlannedSegment(0.5e9, 40)))
    assert cost(both, BOARD, 8.0, added=True) == pytest.approx((60 * 0.4 + 40 * 0.4 + 8.0, 6.0 + 8.0 + 8.0))


def test_cost_at_a_clock_that_is_not_known() -> None:
    table = OppTable(np.array([np.nan]), np.array([0.1]), np.array([0.6]), power_idle_w=2.0)
    share = replace(plan().plan.devices[0], segments=(PlannedSegment(None, 100),))
    assert cost(share, replace(BOARD, cpu=table), 8.0, added=True) == pytest.approx((100 * (0.6 - 0.2) + 8.0, 18.0))


def test_rounds_as_foretold_change_nothing() -> None:
    planner = Planner(plan(energy_j=47.9))
    assert revise(plan(), [BOARD], [record(1), record(2)], planner) is None
    np.testing.assert_allclose(planner.asked[0].cpu.s_per_sample, [0.2, 0.1])


def test_a_plan_that_saves_enough_takes_over() -> None:
    better = plan(0.5e9, energy_j=40.0)
    revised = revise(plan(), [BOARD], [record(1, joules=72.0)], Planner(better))
    assert revised is not None
    assert (revised.round, revised.plan) == (2, better)
    assert revised.reason.endswith("less with the new plan")
    saved = float(revised.reason.split(", ")[1].split("%")[0]) / 100
    before = float(revised.reason.split(" J")[0])
    assert 48.0 < before < 60.0  # between the profile's 48 and the measured 72 - 20 + 8
    assert saved == pytest.approx(1 - 40.0 / before, abs=0.002)


def test_a_board_that_has_become_too_slow_is_reason_enough() -> None:
    dearer = plan(energy_j=500.0, round_s=19.0)
    revised = revise(plan(round_s=19.0), [BOARD], [record(n, seconds=13.0) for n in (1, 2, 3)], Planner(dearer))
    assert revised is not None
    assert revised.reason == "a would need longer than the round's 19.0 s"
    assert revised.round == 4


def test_paced_rounds_that_kept_their_pace_leave_the_link_as_it_was() -> None:
    """A quarter of a link of 400 bit/s, kept for three rounds: no reason to plan for a link of 100."""
    board = replace(BOARD, radio=Radio(kind="shared_link", tx_power_w=1.0, link_bits_per_s=400.0))
    link = LinkShare(bits_per_s=100.0, part=0.25)
    work = PlannedWork(compute_j=40.0, upload_j=2.0, compute_s=10.0, upload_s=8.0, samples=100, link=link)
    records = [msgspec.structs.replace(record(n), planned={"a": work}) for n in (1, 2, 3)]
    planner = Planner(plan(energy_j=48.0))
    revise(plan(), [board], records, planner)
    assert planner.asked[0].radio.link_bits_per_s == 400.0
    slow = [
        msgspec.structs.replace(one, updates=(update(segment(1e9, 100, 10.0, 60.0), upload_s=40.0),)) for one in records
    ]
    late = revise(plan(round_s=19.0), [board], slow, planner)  # 10 s, and 8 s where the link suffices
    rate = planner.asked[0].radio.link_bits_per_s
    assert rate is not None
    assert rate == pytest.approx(400.0 * 0.05**0.76, rel=0.03)  # 20 bit/s with all of it: 3/4 of the way there
    assert late is not None
    assert late.reason == "a would need longer than the round's 19.0 s"


def test_where_no_plan_keeps_the_terms_the_present_one_stays() -> None:
    slow = [record(n, seconds=20.0) for n in (1, 2, 3)]
    assert revise(plan(round_s=19.0), [BOARD], slow, Planner(InfeasibleError("too slow"))) is None


def test_only_accepted_updates_teach() -> None:
    _, seen = believe([BOARD], [record(1, verdict="late"), record(2)])
    assert {one.round for one in seen} == {2}
    beliefs, _ = believe([BOARD], [record(1), record(2)])
    again, _ = believe([BOARD], [msgspec.structs.replace(one) for one in (record(1), record(2))])
    np.testing.assert_array_equal(beliefs["a"].seconds.covariance, again["a"].seconds.covariance)
