"""From measurements to plans: numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from server.config import PlanConfig
from server.errors import FleetError
from server.measured import opp_table, pick_freqs, planner_device, top_point, unmeasured_uploads
from server.plan.problem import LearningCurve, OppTable, Plan, Problem
from server.plan.solve import solve
from server.run_dir import Enrolled, LinkMeasurement
from server.strategies import plan_strategy, planned_work, settle_terms
from server.uplinks import upload_seconds
from tests.rounds.fake_device import join_of, profile_of

CURVE = LearningCurve(alpha=1.0, beta=0.5, gamma=0.1)
GHZ = (0.5e9, 1.0e9, 1.5e9)


def enrolled(
    id_: str = "a", counts: tuple[int, ...] = (60, 40), *, starved: tuple[bool, ...] = (False,) * 3
) -> Enrolled:
    """100 samples; 20, 10, 6.67 ms a sample; 2 W idle, 3 W + (f/GHz)**3 W busy; uplink 1 Mbit in 0.5 s at 0.4 W."""
    profile = profile_of(id_, "r", GHZ)
    points = tuple(
        msgspec.structs.replace(point, starved=flag) for point, flag in zip(profile.points, starved, strict=True)
    )
    return Enrolled(
        join=join_of(id_, "r", counts),
        profile=msgspec.structs.replace(profile, points=points),
        link=LinkMeasurement(up_bits=1_000_000, up_bits_per_s=2e6, power_w=0.4),
    )


def test_a_device_as_the_planner_sees_it() -> None:
    device = planner_device(enrolled(), storage_limit=30)
    assert (device.local_samples, device.storage_samples, upload_seconds(device)) == (100, 30, 0.5)
    assert device.radio.overhead_w == 0.4
    freq_hz, tau_s, joules = top_point(device)
    assert (freq_hz, tau_s) == (1.5e9, pytest.approx(1e7 / 1.5e9))
    assert joules == pytest.approx((3.0 + 1.5**3) * tau_s)
    assert planner_device(enrolled(), storage_limit=None).storage_samples == 100


def test_an_upload_of_unknown_power_is_named_and_planned_as_free() -> None:
    known, unknown = enrolled("a"), enrolled("b")
    unknown = msgspec.structs.replace(unknown, link=msgspec.structs.replace(unknown.link, power_w=None))
    assert unmeasured_uploads((known, unknown)) == ("b",)
    assert planner_device(unknown, None).radio.overhead_w == 0.0


def test_a_number_of_samples_that_no_device_has_is_one_sentence() -> None:
    assert planner_device(enrolled(counts=(2**31 - 1, 0)), 0).local_samples == 2**31 - 1
    with pytest.raises(FleetError, match="a says it has 4294967296 samples: no device has over 2147483647"):
        planner_device(enrolled(counts=(2**32 - 1, 1)), 0)


def test_starved_points_are_left_out_where_two_sound_ones_remain() -> None:
    assert opp_table(enrolled(starved=(True, False, False))).freq_hz.tolist() == [1.0e9, 1.5e9]
    assert len(opp_table(enrolled(starved=(True, True, False))).freq_hz) == 3


def test_without_joules_there_is_no_plan() -> None:
    device = enrolled()
    mute = msgspec.structs.replace(device.profile.idle, idle_power_w=None)
    blind = msgspec.structs.replace(device, profile=msgspec.structs.replace(device.profile, idle=mute))
    with pytest.raises(FleetError, match=r"a has no power meter \(meter: fake\)"):
        opp_table(blind)


def test_clocks_to_measure() -> None:
    opps = tuple(1e8 * n for n in range(1, 16))
    assert pick_freqs(opps, 3, 0.4) == (15e8, 11e8, 6e8)
    assert pick_freqs(opps, 1, 1.0) == (15e8,)
    assert pick_freqs((1e9, 2e9), 3, 0.4) == (2e9, 1e9)
    assert pick_freqs((), 3, 0.4) == ()


def terms_of(plan: PlanConfig, devices: list[Enrolled], learning: tuple[LearningCurve, float] | None = (CURVE, 0.5)):
    return settle_terms([planner_device(device, None) for device in devices], plan, learning=learning, local_epochs=2)


def test_terms_from_the_devices() -> None:
    """Filled to twice 100 samples at worth 0.5: err(150) = 150**-0.5 + 0.1; top clock: 200 * 2 * 6.67 ms + 0.5 s."""
    terms = terms_of(PlanConfig(), [enrolled()])
    assert terms.target_error == pytest.approx(150**-0.5 + 0.1)
    assert terms.round_s == pytest.approx(1.5 * (400 / 150 + 0.5))


def test_terms_as_configured_and_without_synthetic_samples() -> None:
    terms = terms_of(PlanConfig(round_s=9.0, target_error=0.3), [enrolled()])
    assert (terms.round_s, terms.target_error) == (9.0, 0.3)
    alone = terms_of(PlanConfig(), [enrolled()], learning=None)
    assert alone.target_error is None
    assert alone.round_s == pytest.approx(1.5 * (200 / 150 + 0.5))


def test_the_four_strategies() -> None:
    both = [enrolled("a"), enrolled("b", (90, 10))]
    devices = [planner_device(device, None) for device in both]
    terms = terms_of(PlanConfig(), both)
    plans = {name: plan_strategy(name, devices, terms, solve) for name in ("tfl", "fill", "fimi", "tfl-top")}
    amounts = {name: [d.executed_samples for d in plan.plan.devices] for name, plan in plans.items()}
    assert amounts["tfl"] == amounts["tfl-top"] == [100, 100]
    assert amounts["fill"] == amounts["fimi"]
    assert sum(amounts["fimi"]) > 200
    for of_fill, of_fimi in zip(plans["fill"].plan.devices, plans["fimi"].plan.devices, strict=True):
        assert of_fill.synth_counts == of_fimi.synth_counts
        (segment,) = of_fill.segments
        assert (segment.freq_hz, segment.samples) == (1.5e9, 2 * of_fill.executed_samples)
    assert plans["fill"].plan.executed_energy_j > plans["fimi"].plan.executed_energy_j
    assert plans["tfl-top"].plan.executed_energy_j > plans["tfl"].plan.executed_energy_j
    assert {name for name, plan in plans.items() if plan.certified} == {"tfl", "fimi"}
    assert [plans[name].target_error for name in ("tfl", "tfl-top")] == [None, None]
    assert len({plan.round_s for plan in plans.values()}) == 1


@pytest.mark.parametrize(("basis", "compute_j", "upload_j"), [("added", 5.833, 0.2), ("board", 8.5, 1.2)])
def test_joules_at_the_top_clock_by_hand(basis: str, compute_j: float, upload_j: float) -> None:
    """200 samples of 6.67 ms: 1.333 s at 6.375 W is 8.5 J, less 2 W idle 5.833 J; upload 0.5 s at 0.4 W (+ 2 W)."""
    devices = [planner_device(enrolled(), None)]
    terms = replace(terms_of(PlanConfig(), [enrolled()]), energy_basis=basis)
    (device,) = plan_strategy("tfl-top", devices, terms, solve).plan.devices
    work = planned_work(device)
    assert work.compute_j == pytest.approx(compute_j, abs=1e-3)
    assert work.upload_j == pytest.approx(upload_j)
    assert (work.compute_s, work.upload_s, work.samples) == (pytest.approx(4 / 3), 0.5, 100)


def test_the_planner_gets_the_problem_as_measured() -> None:
    seen: list[Problem] = []

    def spy(problem: Problem) -> Plan:
        seen.append(problem)
        return solve(problem)

    devices = [planner_device(enrolled(), None)]
    terms = terms_of(PlanConfig(), [enrolled()])
    plan_strategy("tfl", devices, terms, spy)
    plan_strategy("fimi", devices, terms, spy)
    assert [problem.target_error for problem in seen] == [None, terms.target_error]
    assert all(problem.synthetic_value == 0.5 and problem.local_epochs == 2 for problem in seen)
    cpu = seen[0].devices[0].cpu
    assert isinstance(cpu, OppTable)
    np.testing.assert_allclose(cpu.s_per_sample, [0.02, 0.01, 0.01 / 1.5])
