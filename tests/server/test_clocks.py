"""Measured points under the clocks that the board ran at: numbers by hand."""

from __future__ import annotations

import msgspec
import pytest

from edge_client import accounting
from edge_client.protocol.messages import OppPoint
from server import clocks
from server.clocks import ClockPoint, by_clock, clock_of
from server.config import PlanConfig
from server.measured import opp_table, planner_device
from server.plan.solve import solve
from server.run_dir import Enrolled
from server.strategies import plan_strategy, settle_terms
from tests.server.test_strategies import enrolled

PI5_HZ = (1.0e9, 1.5e9, 1.6e9, 1.7e9, 1.8e9, 1.9e9, 2.0e9, 2.1e9, 2.2e9, 2.3e9, 2.4e9)


def point(
    asked_hz: float,
    verified_hz: float | None,
    s_per_sample: float = 0.01,
    j_per_sample: float | None = 0.05,
    *,
    samples: int = 100,
    starved: bool | None = False,
) -> OppPoint:
    return OppPoint(
        freq_hz=asked_hz, verified_hz=verified_hz, s_per_sample=s_per_sample, j_per_sample=j_per_sample,
        samples=samples, duration_s=s_per_sample * samples, uncertainty=None, starved=starved,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked_hz", "verified_hz", "clock_hz"),
    [
        (2.4e9, 2.4e9, 2.4e9),
        (2.4e9, None, 2.4e9),  # nothing to verify it by
        (2.4e9, 2.352e9, 2.4e9),  # 2 % off is still that clock, though 2.3 GHz is no farther
        (1.0e9, 1.5002e9, 1.5e9),  # what a Pi 5 does
        (1.0e9, 1.3e9, None),
        (2.4e9, 2.344e9, 2.3e9),  # 2.33 % off, and within 2 % of 2.3 GHz
    ],
)
def test_the_clock_of_a_point(asked_hz: float, verified_hz: float | None, clock_hz: float | None) -> None:
    assert clock_of(point(asked_hz, verified_hz), PI5_HZ) == clock_hz


def test_a_violation_is_the_same_on_both_sides() -> None:
    assert clocks.TOLERANCE == accounting.CLOCK_TOLERANCE


def test_a_clock_that_the_board_does_not_have_joins_the_one_it_ran_at() -> None:
    """100 samples of 10 ms and 50 mJ, and 300 of 12 ms and 54 mJ: 11.5 ms and 53 mJ over all 400."""
    points = [
        point(2.4e9, 2.4e9),
        point(1.5e9, 1.5e9, 0.010, 0.050, samples=100),
        point(1.0e9, 1.5e9, 0.012, 0.054, samples=300),
    ]
    low, top = by_clock(points, PI5_HZ)
    assert (low.freq_hz, low.starved, top.freq_hz) == (1.5e9, False, 2.4e9)
    assert (low.s_per_sample, low.j_per_sample) == (pytest.approx(0.0115), pytest.approx(0.053))


def test_of_the_points_of_a_clock_the_sound_ones_count() -> None:
    points = [point(1.5e9, 1.5e9, 0.02, 0.09, starved=True), point(1.0e9, 1.5e9), point(2.4e9, 2.4e9, starved=True)]
    assert by_clock(points, PI5_HZ) == [
        ClockPoint(1.5e9, 0.01, 0.05, starved=False),
        ClockPoint(2.4e9, 0.01, 0.05, starved=True),
    ]


def test_without_a_meter_the_joules_stay_unknown() -> None:
    points = [point(1.5e9, 1.5e9), point(1.0e9, 1.5e9, j_per_sample=None)]
    assert [one.j_per_sample for one in by_clock(points, PI5_HZ)] == [None]


def test_a_clock_that_cannot_be_asked_for_is_left_out_where_two_remain() -> None:
    throttled = point(2.4e9, 1.23e9, 0.03)
    others = [point(1.5e9, 1.5e9), point(1.9e9, 1.9e9)]
    assert [one.freq_hz for one in by_clock([throttled, *others], PI5_HZ)] == [1.5e9, 1.9e9]
    assert [one.freq_hz for one in by_clock([throttled, others[0]], PI5_HZ)] == [1.5e9, 2.4e9]
    # under the clock that was asked for, but not in place of what was measured there
    stray = point(1.5e9, 1.23e9, 0.03)
    assert by_clock([stray, others[0]], PI5_HZ) == [ClockPoint(1.5e9, 0.01, 0.05, starved=False)]


def test_a_point_without_any_clock_is_the_only_one_or_none() -> None:
    nameless = msgspec.structs.replace(point(1.5e9, None), freq_hz=None)
    assert by_clock([nameless], ()) == [ClockPoint(None, 0.01, 0.05, starved=False)]
    assert [one.freq_hz for one in by_clock([nameless, point(1.5e9, 1.5e9)], PI5_HZ)] == [1.5e9]
    told = msgspec.structs.replace(nameless, verified_hz=1.2e9)
    assert [one.freq_hz for one in by_clock([told], ())] == [1.2e9]


def pi5() -> Enrolled:
    """A Raspberry Pi 5 as it is measured at three clocks: the lowest that it lists is 1500 MHz in truth."""
    device = enrolled()
    points = (point(2.4e9, 2.4e9, 0.0100, 0.075), point(1.9e9, 1.9e9, 0.0118, 0.077), point(1.0e9, 1.5e9, 0.014, 0.078))
    able = msgspec.structs.replace(device.join.capabilities, opps_hz=PI5_HZ)
    return msgspec.structs.replace(
        device,
        join=msgspec.structs.replace(device.join, capabilities=able),
        profile=msgspec.structs.replace(device.profile, points=points),
    )


def test_the_plan_asks_for_the_clock_that_the_board_has() -> None:
    """Above 2 W idle a sample takes 55, 53.4 and 50 mJ: with time enough, the slowest clock does it all."""
    device = pi5()
    assert opp_table(device).freq_hz.tolist() == [1.5e9, 1.9e9, 2.4e9]
    devices = [planner_device(device, None)]
    terms = settle_terms(devices, PlanConfig(round_s=60.0), learning=None, local_epochs=1)
    (planned,) = plan_strategy("tfl", devices, terms, solve).plan.devices
    assert [segment.freq_hz for segment in planned.segments] == [1.5e9]
