"""Joules from a counter with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.counting import CounterSample, difference
from edge_client.hardware.interfaces import MeterInfo
from edge_client.protocol.messages import EnergyReading

INFO = MeterInfo(name="c", boundary="cpu_package", uncertainty=0.03)


def joules(
    points: list[tuple[float, float | None]], start: float, end: float, idle_power_w: float | None = None
) -> EnergyReading:
    samples = [CounterSample(t, energy_j) for t, energy_j in points]
    return difference(samples, start, end, period_s=1.0, info=INFO, idle_power_w=idle_power_w)


def test_between_two_polls_the_difference_is_exact() -> None:
    # 100 J at 0 s, 102 at 1, 111 at 2: 11 J over both, whatever the power did in between
    found = joules([(0, 100.0), (1, 102.0), (2, 111.0)], 0, 2, idle_power_w=1.5)
    assert found == EnergyReading(
        energy_j=11.0,
        duration_s=2,
        idle_power_w=1.5,
        source="measured",
        boundary="cpu_package",
        meter="c",
        uncertainty=0.03,
        samples=3,
        missed_samples=0,
    )
    assert (found.idle_j, found.added_j) == (3.0, 8.0)


def test_edges_take_their_share_of_a_stretch() -> None:
    # half of the 2 J of the first second, half of the 9 J of the second
    found = joules([(0, 100.0), (1, 102.0), (2, 111.0)], 0.5, 1.5)
    assert found.energy_j == pytest.approx(1.0 + 4.5)
    assert found.uncertainty == 0.03


def test_failed_polls_lose_no_joules_but_are_counted() -> None:
    found = joules([(0, 10.0), (1, None), (2, None), (3, 40.0), (4, 41.0)], 0, 4)
    assert found.energy_j == 31.0
    assert (found.samples, found.missed_samples, found.uncertainty) == (3, 2, 0.03)


def test_a_long_stretch_cut_by_the_edge_is_uncertain() -> None:
    # 30 J over 3 s, of which the window holds 1 s: 10 J if the power was steady; 1 of 2 s is a guess
    found = joules([(0, 10.0), (3, 40.0), (4, 42.0)], 2, 4)
    assert found.energy_j == pytest.approx(12.0)
    assert found.uncertainty == pytest.approx(math.hypot(0.03, 0.5))


def test_a_counter_that_began_anew_is_bridged_by_its_neighbours() -> None:
    # 2 W before, 4 W after; of the 3 s in between nothing is known: 3 s at 3 W
    found = joules([(0, 100.0), (1, 102.0), (4, 1.0), (5, 5.0)], 0, 5)
    assert found.energy_j == pytest.approx(2.0 + 9.0 + 4.0)
    assert found.missed_samples == 2
    assert found.uncertainty == pytest.approx(math.hypot(0.03, 3 / 5))


def test_what_lies_beyond_the_polls_is_held_and_counted() -> None:
    found = joules([(2, 10.0), (3, 14.0)], 0, 3.5)
    assert found.energy_j == pytest.approx(4.0 * 3.5)
    assert found.missed_samples == 1
    assert found.uncertainty == pytest.approx(math.hypot(0.03, 2 / 3.5))
    assert joules([(2, 10.0), (3, 14.0)], 3.2, 3.6).energy_j == pytest.approx(4.0 * 0.4)


@pytest.mark.parametrize("points", [[], [(1.0, 5.0)], [(0.0, None), (1.0, None)], [(0.0, 9.0), (2.0, 1.0)]])
def test_without_two_readings_on_end_nothing_is_known(points: list[tuple[float, float | None]]) -> None:
    found = joules(points, 0, 2)
    assert (found.energy_j, found.source, found.boundary, found.uncertainty) == (
        None,
        "unavailable",
        "cpu_package",
        None,
    )
    assert found.missed_samples >= 1


def test_far_readings_say_nothing_about_a_window() -> None:
    assert joules([(0, 1.0), (1, 2.0)], 2.5, 4).energy_j is None
    assert joules([(6, 1.0), (7, 2.0)], 2.5, 4).energy_j is None


def test_windows_may_be_empty_but_not_backwards() -> None:
    assert joules([(0, 1.0), (1, 2.0)], 0.5, 0.5).energy_j == 0.0
    with pytest.raises(ValueError, match=r"^the window ends \(1\) before it starts \(2\)$"):
        joules([], 2, 1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.05, 3), st.floats(0, 50)), min_size=2, max_size=20), st.floats(0, 1), st.floats(0, 1)
)
def test_windows_add_up(steps: list[tuple[float, float]], first_at: float, second_at: float) -> None:
    t, energy_j, samples = 0.0, 0.0, [CounterSample(0.0, 0.0)]
    for step, power_w in steps:
        t, energy_j = t + step, energy_j + step * power_w
        samples.append(CounterSample(t, energy_j))
    cut = sorted((first_at * t, second_at * t))

    def within(a: float, b: float) -> float:
        found = difference(samples, a, b, period_s=1.0, info=INFO, idle_power_w=None).energy_j
        assert found is not None
        return found

    parts = within(0, cut[0]) + within(cut[0], cut[1]) + within(cut[1], t)
    assert parts == pytest.approx(energy_j, abs=1e-6)
