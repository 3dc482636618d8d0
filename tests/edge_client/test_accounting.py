"""Joules, violations and starvation with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client import accounting
from edge_client.accounting import PowerSample, integrate
from edge_client.hardware.interfaces import ClockReading, MeterInfo
from edge_client.protocol.messages import EnergyReading

INFO = MeterInfo(name="m", boundary="board", uncertainty=0.03)
BOOT = 1024  # the monotonic clock starts somewhere


def reading(
    points: list[tuple[float, float | None]], start: float, end: float, period_s: float = 1.0, idle: float | None = 1.0
) -> EnergyReading:
    samples = [PowerSample(BOOT + t, power_w) for t, power_w in points]
    return integrate(samples, BOOT + start, BOOT + end, period_s=period_s, info=INFO, idle_power_w=idle)


def test_a_ramp_by_hand() -> None:
    # 2 W at 0 s, 4 W at 1 s, 6 W at 2 s: (2+4)/2 + (4+6)/2 = 8 J
    found = reading([(0, 2.0), (1, 4.0), (2, 6.0)], 0, 2)
    assert found == EnergyReading(
        energy_j=8.0,
        duration_s=2,
        idle_power_w=1.0,
        source="measured",
        boundary="board",
        meter="m",
        uncertainty=0.03,
        samples=3,
        missed_samples=0,
    )
    assert found.added_j == 6.0


def test_edges_are_interpolated() -> None:
    # from 0.5 s (3 W) over 1 s (4 W) to 1.5 s (5 W): 0.5*3.5 + 0.5*4.5 = 4 J
    found = reading([(0, 2.0), (1, 4.0), (2, 6.0)], 0.5, 1.5)
    assert found.energy_j == pytest.approx(4.0)
    assert (found.samples, found.missed_samples) == (1, 0)


def test_a_window_between_two_samples() -> None:
    # 2.5 W at 0.25 s, 3.5 W at 0.75 s: 0.5 * 3 = 1.5 J
    assert reading([(0, 2.0), (1, 4.0)], 0.25, 0.75).energy_j == pytest.approx(1.5)


def test_values_are_held_beyond_the_ends() -> None:
    found = reading([(1, 2.0), (2, 4.0)], 0.5, 2.5)
    assert found.energy_j == pytest.approx(0.5 * 2 + 3 + 0.5 * 4)
    assert found.missed_samples == 0


def test_one_sample_is_enough_where_it_is_near() -> None:
    assert reading([(1.0, 2.0)], 1.5, 2.0).energy_j == 1.0
    assert reading([(2.0, 2.0)], 1.0, 1.0 + 0.5).energy_j == 1.0
    assert reading([(1.0, 2.0)], 2.0, 2.5).energy_j == 1.0
    assert reading([(1.0, 2.0)], 2.1, 2.5).energy_j is None
    assert reading([(3.6, 2.0)], 2.1, 2.5).energy_j is None


def test_failed_reads_are_bridged_counted_and_widen_the_uncertainty() -> None:
    # 2 W at 0, 1, then nothing at 2 and 3, 6 W at 4: 2 + 3 * (2+6)/2 = 14 J, two polls missed, 3 of 4 s uncovered
    found = reading([(0, 2.0), (1, 2.0), (2, None), (3, None), (4, 6.0)], 0, 4)
    assert found.energy_j == pytest.approx(14.0)
    assert (found.samples, found.missed_samples) == (3, 2)
    assert found.uncertainty == pytest.approx(math.hypot(0.03, 0.75))


def test_missing_polls_at_the_edges_are_counted() -> None:
    found = reading([(5, 2.0), (6, 2.0)], 2, 9)
    assert found.energy_j == pytest.approx(14.0)
    assert found.missed_samples == 2 + 2
    assert found.uncertainty == pytest.approx(math.hypot(0.03, 6 / 7))


@pytest.mark.parametrize(("gap", "missed"), [(1.0, 0), (1.4, 0), (1.5, 1), (2.0, 1), (2.49, 1), (2.5, 2), (3.0, 2)])
def test_when_a_poll_is_late_enough_to_count(gap: float, missed: int) -> None:
    assert reading([(0, 1.0), (gap, 1.0)], 0, gap).missed_samples == missed


def test_nothing_known_is_none_not_zero() -> None:
    for found, meter, missed in (
        (reading([], 0, 4), "m", 4),
        (reading([(0, None), (1, None)], 0, 1), "m", 1),
        (reading([], 0, 0.1), "m", 1),
        (reading([], 0, 1, period_s=0.5), "m", 2),
        (integrate([], 8, 12, period_s=1, info=None, idle_power_w=1.0), "none", 0),
    ):
        assert found.energy_j is None
        assert found.added_j is None
        assert found.uncertainty is None
        assert found.source == "unavailable"
        assert (found.meter, found.samples, found.missed_samples) == (meter, 0, missed)
        assert found.idle_power_w == 1.0
    assert reading([], 0, 4).boundary == "board"
    assert reading([], 0, 4).duration_s == 4
    assert accounting.unavailable(2.0, "x", None).boundary is None
    assert accounting.unavailable(2.0, "x", None).missed_samples == 0


def test_without_an_idle_floor_added_joules_are_unknown() -> None:
    found = reading([(0, 2.0), (1, 2.0)], 0, 1, idle=None)
    assert (found.energy_j, found.added_j) == (2.0, None)


def test_windows_may_be_empty_but_not_backwards() -> None:
    found = reading([(0, 2.0), (1, 4.0)], 0.5, 0.5)
    assert (found.energy_j, found.duration_s, found.uncertainty) == (0.0, 0.0, 0.03)
    with pytest.raises(ValueError, match=r"^the window ends \(1025\) before it starts \(1026\)$"):
        reading([(0, 2.0)], 2, 1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.05, 3), st.one_of(st.none(), st.floats(0, 50))), min_size=1, max_size=30),
    st.floats(0, 20),
    st.floats(0, 20),
    st.floats(0, 1),
)
def test_joules_stay_between_the_extremes_and_add_up(
    steps: list[tuple[float, float | None]], start: float, length: float, cut_at: float
) -> None:
    samples, t = [], 0.0
    for step, power_w in steps:
        t += step
        samples.append(PowerSample(t, power_w))

    def joules(a: float, b: float) -> float | None:
        return integrate(samples, a, b, period_s=100.0, info=INFO, idle_power_w=None).energy_j

    end = start + length
    middle = start + cut_at * length
    whole = joules(start, end)
    good = [sample.power_w for sample in samples if sample.power_w is not None]
    if not good:
        assert whole is None
        return
    assert whole is not None
    slack = 1e-9 + 1e-9 * max(good) * length
    assert min(good) * length - slack <= whole <= max(good) * length + slack
    first, second = joules(start, middle), joules(middle, end)
    assert first is not None
    assert second is not None
    assert first + second == pytest.approx(whole, abs=1e-6)


def test_offset_and_lag_of_the_meter_weigh_more_on_small_and_short_windows() -> None:
    # 2 W for 10 s, 0.1 W of offset: 5 %; 1 s behind: 10 %
    slow = MeterInfo(name="plug", boundary="wall", uncertainty=0.02, offset_w=0.1, lag_s=1.0)
    samples = [PowerSample(t, 2.0) for t in range(11)]
    found = integrate(samples, 0, 10, period_s=1.0, info=slow, idle_power_w=None)
    assert found.uncertainty == pytest.approx(math.sqrt(0.02**2 + 0.05**2 + 0.1**2))
    short = integrate(samples, 0, 1, period_s=1.0, info=slow, idle_power_w=None)
    assert short.uncertainty == pytest.approx(math.sqrt(0.02**2 + 0.05**2 + 1.0))


def test_what_is_modelled_says_so() -> None:
    model = MeterInfo(name="modelled", boundary="board", uncertainty=0.3, source="modelled")
    found = integrate([PowerSample(0, 2.0), PowerSample(1, 2.0)], 0, 1, period_s=1.0, info=model, idle_power_w=None)
    assert (found.source, found.energy_j) == ("modelled", 2.0)


def test_joules_split_into_the_floor_and_what_was_added() -> None:
    # 100 J in 20 s over a floor of 4 W: 80 J idle, 20 J added; 3 % of 100 J are 15 % of 20 J
    found = reading([(t, 5.0) for t in range(21)], 0, 20, idle=4.0)
    assert (found.idle_j, found.added_j) == (80.0, pytest.approx(20.0))
    assert found.added_uncertainty == pytest.approx(0.15)
    assert reading([(0, 5.0), (1, 5.0)], 0, 1, idle=None).idle_j is None
    assert reading([(0, 5.0), (1, 5.0)], 0, 1, idle=None).added_uncertainty is None
    assert reading([(0, 5.0), (1, 5.0)], 0, 1, idle=6.0).added_uncertainty is None  # less than the floor


def test_windows_under_half_a_minute_are_flagged() -> None:
    assert reading([(0, 5.0), (30, 5.0)], 0, 29.9).short_window
    assert not reading([(0, 5.0), (30, 5.0)], 0, 30).short_window


def test_mean_power() -> None:
    assert accounting.mean_power_w(reading([(0, 2.0), (2, 4.0)], 0, 2)) == 3.0
    assert accounting.mean_power_w(reading([(0, 2.0)], 0, 0.5)) == 2.0
    assert accounting.mean_power_w(reading([(0, 2.0)], 0, 0)) is None
    assert accounting.mean_power_w(reading([], 0, 2)) is None


# ---- the clock ---------------------------------------------------------------------------------------------------


def clock(requested: float, accepted: float | None, verified: float | None) -> ClockReading:
    return ClockReading(requested_hz=requested, accepted_hz=accepted, verified_hz=verified)


def test_seconds_off_the_clock() -> None:
    good, off = clock(100, 100, 98), clock(100, 100, 97.9)
    assert accounting.violation_s([(0, good), (1, off), (3, good)], 0, 4) == 2
    assert accounting.violation_s([(0, good), (1, off)], 0, 4) == 3
    assert accounting.violation_s([(0, off), (1, good)], 0.25, 4) == 0.75
    assert accounting.violation_s([(0, off), (1, off)], 2, 4) == 2
    assert accounting.violation_s([(0, off), (5, good)], 2, 4) == 2
    assert accounting.violation_s([(5, off)], 2, 4) == 0
    assert accounting.violation_s([], 0, 4) == 0


def test_the_verified_clock_decides_and_the_unknown_does_not_accuse() -> None:
    assert accounting.violation_s([(0, clock(100, 50, 101))], 0, 4) == 0
    assert accounting.violation_s([(0, clock(100, 50, None))], 0, 4) == 4
    assert accounting.violation_s([(0, clock(100, 103, None))], 0, 4) == 4
    assert accounting.violation_s([(0, clock(100, 102, None))], 0, 4) == 0
    assert accounting.violation_s([(0, clock(100, None, None))], 0, 4) == 0


def test_the_typical_clock_is_the_median() -> None:
    assert accounting.typical_hz([3, None, 1, 2]) == 2
    assert accounting.typical_hz([None]) is None
    assert accounting.typical_hz([]) is None


# ---- pressure ----------------------------------------------------------------------------------------------------


def test_starved_beyond_five_per_cent_of_the_window() -> None:
    assert accounting.starved(1_000_000, 1_050_000, 1.0) is False
    assert accounting.starved(1_000_000, 1_050_001, 1.0) is True
    assert accounting.starved(0, 90_000, 2.0) is False
    assert accounting.starved(0, 5_000_000, 100.0) is False
    assert accounting.starved(0, 5_000_002, 100.0) is True
    assert accounting.starved(None, 1, 1.0) is None
    assert accounting.starved(1, None, 1.0) is None
    assert accounting.starved(1, 2, 0.0) is None
