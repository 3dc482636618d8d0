"""Shares keep the order of the boards and leave room; one board too many gets one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.boards.admission import BOARD_MAX, BOARD_MIN, AdmissionError, shares, usable_cores


def test_six_boards_on_two_cores() -> None:
    # 1.5 cores over 2 * (0.75 + 1 + 2.5) = 8.5
    result = shares((0.75, 1.0, 2.5) * 2, cores=2.0)
    assert result[:3] == pytest.approx((0.75 * 1.5 / 8.5, 1.5 / 8.5, 2.5 * 1.5 / 8.5))
    assert sum(result) == pytest.approx(1.5)


def test_one_board_gets_no_more_than_a_thread_can_use() -> None:
    assert shares((2.5,), cores=8.0) == (BOARD_MAX,)
    assert shares((1.0, 2.0), cores=8.0) == (BOARD_MAX / 2, BOARD_MAX)


def test_too_many_boards() -> None:
    with pytest.raises(AdmissionError) as caught:
        shares((1.0,) * 40, cores=2.0)
    assert str(caught.value) == (
        "40 boards are too many for 2 cores: the slowest would get 0.037 of a core, at least 0.04 is needed;"
        " there is room for the first 37"
    )


@given(st.lists(st.floats(0.2, 5.0), min_size=1, max_size=12), st.floats(0.5, 64.0), st.floats(0.1, 0.95))
def test_shares_fit_and_are_proportional(speeds: list[float], cores: float, usable: float) -> None:
    try:
        result = shares(speeds, cores, usable)
    except AdmissionError:
        assert (
            cores * usable * min(speeds) / sum(speeds) < BOARD_MIN or BOARD_MAX * min(speeds) / max(speeds) < BOARD_MIN
        )
        return
    assert sum(result) <= cores * usable + 1e-9
    assert min(result) >= BOARD_MIN
    assert max(result) <= BOARD_MAX + 1e-12
    for share, speed in zip(result, speeds, strict=True):
        assert share / result[0] == pytest.approx(speed / speeds[0])


def test_this_host_has_cores() -> None:
    assert usable_cores() > 0
