"""What a sensor says and is not to be believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.plausible import believed


def at_10_hz(*watts: float | None) -> list[tuple[float, float | None]]:
    return [(0.1 * index, power_w) for index, power_w in enumerate(watts)]


def values(samples: list[tuple[float, float | None]]) -> list[float | None]:
    return [power_w for _, power_w in samples]


def test_a_spike_and_a_zero_are_left_out() -> None:
    assert values(believed(at_10_hz(3.0, 3.1, 150.0, 3.0, 2.9, 0.0, 3.0, 3.1))) == [
        3.0, 3.1, None, 3.0, 2.9, None, 3.0, 3.1,
    ]  # fmt: skip


def test_two_glitches_in_a_row_are_left_out() -> None:
    assert values(believed(at_10_hz(3.0, 3.1, 99.0, 98.0, 3.0, 2.9)))[2:4] == [None, None]


def test_a_board_that_begins_to_work_is_believed() -> None:
    step = at_10_hz(1.5, 1.5, 1.6, 9.0, 9.1, 9.0, 9.2, 1.5, 1.6, 1.5)
    assert believed(step) == step


def test_failed_reads_stay_failed_and_do_not_count_as_neighbours() -> None:
    assert values(believed(at_10_hz(3.0, None, 3.1, 60.0, None, 3.0, 3.0))) == [3.0, None, 3.1, None, None, 3.0, 3.0]


def test_too_few_to_judge_are_believed() -> None:
    assert believed(at_10_hz(3.0, 60.0)) == at_10_hz(3.0, 60.0)


def test_a_value_that_never_moves_is_no_reading() -> None:
    stuck = at_10_hz(*[3.0, 3.1], *[2.5] * 602, *[3.0])
    assert values(believed(stuck)) == [3.0, 3.1, *[None] * 602, 3.0]
    still = at_10_hz(*[2.5] * 500)  # fifty seconds
    assert believed(still) == still
    slow = [(3.0 * t, 2.5) for t in range(25)]  # a meter that is asked every three seconds
    assert believed(slow) == slow


@given(st.lists(st.floats(1.0, 3.9), max_size=50))
def test_samples_within_a_factor_of_four_are_all_believed(watts: list[float]) -> None:
    assert all(value is not None for value in values(believed(at_10_hz(*watts))))
