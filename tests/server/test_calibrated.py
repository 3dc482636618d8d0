"""A calibration in place of measurements: fewer clocks are asked for, the plan is the same, a lie is found out."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edge_client.calibration import offer
from edge_client.protocol.messages import Join, decode, encode
from server.calibrated import ends, judge, unfit
from server.config import PlanConfig
from server.measured import opp_table, planner_device
from server.plan.problem import PlannedSegment
from server.plan.solve import solve
from server.run_dir import Enrolled, LinkMeasurement
from server.strategies import plan_strategy, settle_terms
from tests.calibrations import GHZ, calibration
from tests.rounds.fake_device import join_of, profile_of
from tests.rounds.test_enrolment import BLIND, NETWORK, Fleet, enrolled, join

LINK = LinkMeasurement(up_bits=8, up_bits_per_s=8.0, power_w=None)
OPPS = tuple(ghz * 1e9 for ghz in GHZ)
ALL = tuple(reversed(OPPS))


def calibrated(device: str = "a", able: dict[str, object] | None = None, **how: object) -> Join:
    """The fake board with six clocks, and what it says of itself."""
    one = join(device, opps_hz=OPPS, **(able or {}))
    return msgspec.structs.replace(one, calibration=offer(calibration(**how)))


def test_it_travels_with_the_join() -> None:
    sent = calibrated()
    assert decode(encode(sent)) == sent
    assert sent.calibration is not None
    assert (sent.calibration.idle_w, sent.calibration.measured) == (2.0, "2026-11-20T08:00:00Z")
    assert [point.freq_hz for point in sent.calibration.points] == list(OPPS)
    assert len(encode(sent)) < 2500


async def test_two_clocks_are_measured_and_four_come_from_it() -> None:
    fleet = Fleet(calibrated(), join("b", opps_hz=OPPS))
    a, b = await enrolled(fleet, freqs=6)
    assert fleet.asked == [{"a": (1.5e9, 0.5e9), "b": ALL}]
    assert a.calibration is not None
    assert a.calibration.why == "2 clocks were measured, 4 come from its calibration of 2026-11-20"
    assert b.calibration is None
    own, measured = opp_table(a), opp_table(b)
    assert own.freq_hz.tolist() == measured.freq_hz.tolist() == list(OPPS)
    assert own.s_per_sample == pytest.approx(measured.s_per_sample, rel=1e-6)
    assert own.j_per_sample == pytest.approx(measured.j_per_sample, rel=1e-6)


async def test_the_plan_is_that_of_all_clocks_measured() -> None:
    """80 ms for 8 samples are 10 ms each: between 0.9 GHz (11.1 ms) and 1.1 GHz (9.1 ms), both from the calibration."""
    plans = []
    for offered in (calibrated(), join("a", opps_hz=OPPS)):
        devices = [planner_device(device, 0) for device in await enrolled(Fleet(offered), freqs=6)]
        terms = settle_terms(devices, PlanConfig(round_s=0.58), learning=None, local_epochs=2)
        (plan,) = plan_strategy("tfl", devices, terms, solve).plan.devices
        plans.append((plan.segments, plan.executed_compute_j))
    assert plans[0][0] == plans[1][0] == (PlannedSegment(1.1e9, 5), PlannedSegment(0.9e9, 3))
    assert plans[0][1] == pytest.approx(plans[1][1], rel=1e-6)


async def test_a_calibration_that_lies_is_found_out_and_all_clocks_are_measured() -> None:
    fleet = Fleet(calibrated(cycles=2e7))
    (a,) = await enrolled(fleet, freqs=6)
    assert fleet.asked == [{"a": (1.5e9, 0.5e9)}, {"a": ALL}]
    assert a.calibration is not None
    assert a.calibration.points == ()
    assert a.calibration.why == (
        "its calibration is not used, all clocks are measured: at 1500 MHz a sample takes 0.006667 s, by the "
        "calibration 0.01333 s"
    )
    assert opp_table(a).s_per_sample == pytest.approx([1e7 / hz for hz in OPPS])


async def test_a_board_that_is_a_little_slower_moves_it_along() -> None:
    """Eight per cent slower at both ends, so everywhere; twelve would be too much."""
    (a,) = await enrolled(Fleet(calibrated(), slower=1.08), freqs=6)
    assert opp_table(a).s_per_sample == pytest.approx([1.08e7 / hz for hz in OPPS])
    assert opp_table(a).j_per_sample == pytest.approx([1.08e7 / hz * (3 + (hz / 1e9) ** 3) for hz in OPPS])
    (b,) = await enrolled(Fleet(calibrated(), slower=1.12), freqs=6)
    assert b.calibration is not None
    assert b.calibration.points == ()


async def test_another_network_is_scaled_by_its_timing() -> None:
    """The board was calibrated with thrice the work a sample."""
    fleet = Fleet(calibrated(cycles=3e7, network="vgg9"))
    (a,) = await enrolled(fleet, freqs=6)
    assert fleet.asked == [{"a": (1.5e9, 0.5e9)}]
    assert a.calibration is not None
    assert a.calibration.why == (
        "2 clocks were measured, 4 come from its calibration of 2026-11-20, measured with vgg9 and scaled"
    )
    assert opp_table(a).s_per_sample == pytest.approx([1e7 / hz for hz in OPPS])
    assert opp_table(a).j_per_sample == pytest.approx([1e7 / hz * (3 + (hz / 1e9) ** 3) for hz in OPPS])


@pytest.mark.parametrize(
    ("able", "how", "why"),
    [
        ({"boundary": "wall"}, {}, "its joules are of the board, the meter's of the wall"),
        ({}, {"runtime": "torch"}, 'it was measured with runtime "torch"'),
    ],
)
async def test_one_that_does_not_fit_is_not_asked(able: dict[str, object], how: dict[str, object], why: str) -> None:
    fleet = Fleet(calibrated("a", able, **how))
    (a,) = await enrolled(fleet, freqs=6)
    assert fleet.asked == [{"a": ALL}]
    assert a.calibration is not None
    assert a.calibration.why == f"its calibration is not used, all clocks are measured: {why}"


def test_one_that_does_not_reach_far_enough() -> None:
    assert unfit(calibrated(), (1.5e9, 0.4e9)) == (
        "its clocks from 500 to 1500 MHz do not reach those of this run, 400 to 1500 MHz"
    )
    assert ends((1.5e9, 0.9e9, 0.5e9)) == (1.5e9, 0.5e9)


def test_one_that_is_not_to_be_held_against_anything() -> None:
    own = calibrated()
    good = profile_of("a", "r", (1.5e9, 0.5e9))
    starved = profile_of("a", "r", (1.5e9, 0.5e9), starved=True)
    stuck = msgspec.structs.replace(
        good, points=tuple(msgspec.structs.replace(point, verified_hz=1.5e9) for point in good.points)
    )
    for report, why in (
        (starved, "the board was timed while the host was short of processor time"),
        (stuck, "the board ran at one clock, whatever it was asked for"),
    ):
        used = judge(own, report, ALL, NETWORK, 16)
        assert used.points == ()
        assert used.why.endswith(why)


def test_a_board_that_runs_faster_than_asked_gets_no_clock_below_what_it_ran_at() -> None:
    """Asked for 500 it runs at 900 MHz: 500 and 700 are not its clocks, and 900 is measured."""
    good = profile_of("a", "r", (1.5e9, 0.9e9))
    top, low = good.points
    report = msgspec.structs.replace(good, points=(top, msgspec.structs.replace(low, freq_hz=0.5e9)))
    used = judge(calibrated(), report, ALL, NETWORK, 16)
    assert [point.freq_hz for point in used.points] == [1.1e9, 1.3e9]


@pytest.mark.parametrize("network", ["tiny", "vgg9"])
def test_what_is_no_law_is_refused_without_a_word_of_arithmetic(network: str) -> None:
    """A law by which a sample takes no time, a table whose clocks are the same twice, joules beyond all numbers."""
    own = calibrated(network=network)
    told = own.calibration
    assert told is not None
    report = profile_of("a", "r", (1.5e9, 0.5e9))
    nothing = msgspec.structs.replace(told.law, fixed_s_per_sample=0.0, cycles_per_sample=0.0)
    for wrong in (
        msgspec.structs.replace(told, model="law", law=nothing),
        msgspec.structs.replace(told, model="law", law=msgspec.structs.replace(told.law, kappa_w_per_hz3=1e300)),
    ):
        assert judge(msgspec.structs.replace(own, calibration=wrong), report, ALL, NETWORK, 16).points == ()
    twice = msgspec.structs.replace(told, model="table", points=(told.points[0], *told.points))
    assert unfit(msgspec.structs.replace(own, calibration=twice), ALL) == "its clocks are not ascending"


async def test_a_board_without_a_meter_that_its_calibration_models_is_planned() -> None:
    """Its joules are modelled, and they are all that the plan needs; without both there are none."""
    modelled = {"meter": "calibration", "meter_source": "modelled"}
    (a,) = await enrolled(Fleet(calibrated("a", modelled)), freqs=6)
    assert a.join.capabilities.meter_source == "modelled"
    assert np.all(opp_table(a).j_per_sample > 0)
    fleet = Fleet(calibrated("a", BLIND))
    (blind,) = await enrolled(fleet, "tfl", freqs=6)
    assert (fleet.asked, blind.calibration) == ([{"a": ()}], None)


def test_a_devices_file_from_before_calibrations_is_read() -> None:
    old = Enrolled(join=join_of("a", "r", (1, 1)), profile=profile_of("a", "r", (1e9,)), link=LINK)
    text = msgspec.to_builtins(old)
    del text["calibration"]
    text["join"].pop("calibration", None)  # at its default it stays out
    assert msgspec.convert(text, Enrolled) == old
