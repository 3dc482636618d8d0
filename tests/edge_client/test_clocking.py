"""Verdicts on clocks, with numbers by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.clocking import Answer, Pace, clocks_by_work, doubtful, finding


def answers(*pairs: tuple[float, float]) -> list[Answer]:
    return [Answer(asked * 1e6, seen * 1e6) for asked, seen in pairs]


@pytest.mark.parametrize(
    ("asked", "accepted", "seen", "others", "verdict"),
    [
        (1000, 1000, 1010, [], None),
        (1000, 1000, None, [], None),
        (1000, 1500, None, [], "not_accepted"),
        (1000, 1200, 1200, [], "not_accepted"),
        (1000, 1000, 1500, [], "too_fast"),
        (2000, 2000, 1500, [], "too_slow"),
        # a Raspberry Pi 5 below its floor
        (1000, 1000, 1500, [(1200, 1500), (1500, 1500), (2400, 2400)], "floor"),
        (1000, 1000, 1500, [(1500, 1500), (2400, 2400)], "floor"),
        (1000, 1000, 1500, [(1200, 1500)], "floor"),
        # the same clock whatever is asked for
        (600, 600, 1500, [(900, 1500), (1500, 1500)], "not_applied"),
        (1500, 1500, 600, [(900, 600), (600, 600)], "not_applied"),
        (600, 600, 1500, [(1800, 1500)], "not_applied"),
        # capped from above
        (1800, 1800, 1200, [(1500, 1200), (900, 900)], "cap"),
        # above each of its requests
        (1000, 1000, 1200, [(1500, 1800), (2400, 2400)], "boost"),
        (1000, 1000, 1200, [(1500, 1500), (2400, 2400)], "too_fast"),
        # asked for the same clock again: nothing new
        (1000, 1000, 1500, [(1000, 1500)], "too_fast"),
    ],
)
def test_how_a_board_fails_a_request(
    asked: float, accepted: float | None, seen: float | None, others: list[tuple[float, float]], verdict: str | None
) -> None:
    def hz(mhz: float | None) -> float | None:
        return None if mhz is None else mhz * 1e6

    assert finding(asked * 1e6, hz(accepted), hz(seen), answers(*others)) == verdict


def test_no_request_no_verdict() -> None:
    assert finding(None, 1e9, 2e9) is None


def time_s(hz: float, stall: float = 0.3, top_hz: float = 2e9) -> float:
    """a + w/f with 1 s at the top."""
    return stall + (1 - stall) * top_hz / hz


def test_work_confirms_clocks_that_are_in_force() -> None:
    asked = [2e9, 1e9, 1.5e9, 0.6e9]
    assert clocks_by_work([(hz, time_s(hz)) for hz in asked]) == asked


def test_work_shows_a_floor() -> None:
    asked = [0.6e9, 0.9e9, 1.2e9, 1.6e9, 2e9]
    points = [(hz, time_s(max(hz, 1.2e9))) for hz in asked]
    assert clocks_by_work(points) == [1.2e9, 1.2e9, 1.2e9, 1.6e9, 2e9]


def test_work_shows_a_cap_by_the_sound_points_below_it() -> None:
    asked = [0.6e9, 0.9e9, 1.2e9, 1.6e9, 2e9]
    points = [(hz, time_s(min(hz, 1.2e9))) for hz in asked]
    assert clocks_by_work(points) == [0.6e9, 0.9e9, 1.2e9, 1.2e9, 1.2e9]


def test_a_clock_that_is_never_applied_is_taken_for_the_highest() -> None:
    points = [(hz, 1.0 + noise) for hz, noise in ((0.6e9, 0.01), (1.2e9, -0.005), (2e9, 0.0))]
    assert clocks_by_work(points) == [2e9, 2e9, 2e9]


def test_the_further_clocks_are_apart_the_more_may_a_window_be_off() -> None:
    """From 0.6 to 1.5 GHz work that never waits takes 2.5 times as long; 12 % of what that is more are 18 %. To 0.9
    GHz, where that is measured too, they are 6 %."""
    assert clocks_by_work([(0.6e9, 1.17), (1.5e9, 1.0)]) == [1.5e9, 1.5e9]
    assert clocks_by_work([(0.6e9, 1.19), (1.5e9, 1.0)]) == [0.6e9, 1.5e9]
    assert clocks_by_work([(0.6e9, 1.05), (0.9e9, 1.0), (1.5e9, 0.9)]) == [0.9e9, 0.9e9, 1.5e9]
    assert clocks_by_work([(0.6e9, 1.17), (0.9e9, 1.1), (1.5e9, 1.0)]) == [0.6e9, 0.9e9, 1.5e9]


def test_what_took_the_same_time_but_once_ran_at_two_clocks() -> None:
    sound, odd = [(1e9, 1.0), (1.5e9, 0.8)], [(1e9, 1.0), (1.5e9, 1.04)]
    assert doubtful(odd) == [1e9, 1.5e9]
    assert doubtful(sound) == doubtful([]) == []
    assert clocks_by_work(odd, odd) == [1.5e9, 1.5e9]
    assert clocks_by_work(sound, odd) == clocks_by_work(odd, sound) == [1e9, 1.5e9]


def test_clocks_too_near_to_tell_are_believed() -> None:
    assert clocks_by_work([(1.0e9, 1.0), (1.1e9, 1.0)]) == [1.0e9, 1.1e9]


@given(
    stall=st.floats(0.0, 0.7),
    asked=st.lists(st.integers(2, 24), min_size=2, max_size=10, unique=True),
    noise=st.lists(st.floats(-0.005, 0.005), min_size=10, max_size=10),
)
def test_an_obedient_board_is_never_accused(stall: float, asked: list[int], noise: list[float]) -> None:
    clocks = [100e6 * step for step in asked]
    points = [(hz, time_s(hz, stall, 2.4e9) * (1 + off)) for hz, off in zip(clocks, noise, strict=False)]
    assert clocks_by_work(points) == clocks


def test_the_pace_speaks_of_a_clock() -> None:
    pace = Pace.of([(hz, time_s(hz)) for hz in (1e9, 2e9, 2e9)])
    assert pace is not None
    assert pace.implied_hz(time_s(1.25e9)) == pytest.approx(1.25e9)  # on the line between both
    assert pace.implied_hz(time_s(0.8e9)) == pytest.approx(0.8e9)  # and beyond them
    assert pace.implied_hz(time_s(2.5e9)) == pytest.approx(2.5e9)
    assert pace.verified_hz(1e9, time_s(1.1e9)) == 1e9
    assert pace.verified_hz(1e9, time_s(1.5e9)) == pytest.approx(1.5e9)


def test_work_that_took_no_time_speaks_of_a_finite_clock() -> None:
    """Less than the 0.3 s that do not depend on the clock: a message must not carry what is not finite."""
    pace = Pace.of([(hz, time_s(hz)) for hz in (1e9, 2e9)])
    assert pace is not None
    assert pace.implied_hz(0.2) == pytest.approx(4e9)
    assert pace.verified_hz(1e9, 0.001) == pytest.approx(4e9)


def test_one_clock_is_no_pace() -> None:
    assert Pace.of([(1e9, 1.0), (1e9, 1.1)]) is None
