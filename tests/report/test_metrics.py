from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.report import metrics
from server.report.values import RoundRow, RunData, StrategyRun, TaskRow, WindowRow


def task(device: str, added: float | None, *, work: tuple[float, float] | None = None, **more: Any) -> TaskRow:
    """`work`: joules as planned and as measured of an accepted update; without it the update was not accepted."""
    planned, measured = work or (None, None)
    return TaskRow(
        device=device,
        accepted=work is not None,
        added_j=added,
        board_j=None if added is None else added + 10,
        planned_j=planned,
        work_j=measured,
        up_bytes=3,
        down_bytes=5,
        samples=8,
        **more,
    )


def windows(*starved: bool | None) -> tuple[WindowRow, ...]:
    """Training windows of which nothing else is known."""
    return tuple(WindowRow(None, None, None, 0.0, None, one) for one in starved)


def rounds(*accuracy_and_tasks: tuple[float, tuple[TaskRow, ...]]) -> tuple[RoundRow, ...]:
    return tuple(RoundRow(n, a, 2.0, t) for n, (a, t) in enumerate(accuracy_and_tasks, start=1))


class TestTotal:
    def test_an_unknown_part_makes_the_sum_unknown(self) -> None:
        assert metrics.total([1.0, 2.0]) == 3.0
        assert metrics.total([1.0, None]) is None
        assert metrics.total([]) == 0
        assert metrics.cumulated([1.0, 2.0, 4.0]) == [1.0, 3.0, 7.0]
        assert metrics.cumulated([1.0, None]) is None


class TestJoulesToAccuracy:
    def test_between_two_rounds_by_a_straight_line(self) -> None:
        # 0.40 at 100 J, 0.60 at 180 J: 0.55 lies three quarters of the way, 100 + 0.75 * 80.
        assert metrics.joules_to_accuracy([0.4, 0.6], [100, 180], 0.55) == pytest.approx(160)

    def test_the_first_crossing_counts_even_if_the_curve_falls_back(self) -> None:
        assert metrics.joules_to_accuracy([0.2, 0.6, 0.5, 0.7], [10, 20, 30, 40], 0.5) == pytest.approx(17.5)

    def test_in_the_first_round_all_of_it(self) -> None:
        assert metrics.joules_to_accuracy([0.5], [40], 0.3) == 40

    def test_exactly_at_a_round(self) -> None:
        assert metrics.joules_to_accuracy([0.2, 0.4], [10, 30], 0.4) == pytest.approx(30)

    def test_never(self) -> None:
        assert metrics.joules_to_accuracy([0.2, 0.4], [10, 30], 0.5) is None
        assert metrics.joules_to_accuracy([], [], 0.5) is None

    def test_holding_takes_two_rounds_in_a_row_and_both_are_paid(self) -> None:
        sums = [10.0, 30.0, 60.0, 100.0]
        assert metrics.joules_to_hold([0.5, 0.3, 0.5, 0.6], sums, 0.5) == 100.0
        assert metrics.joules_to_hold([0.2, 0.5, 0.6, 0.1], sums, 0.5) == 60.0
        assert metrics.joules_to_hold([0.5, 0.4, 0.5, 0.4], sums, 0.5) is None
        assert metrics.joules_to_hold([0.9], [10.0], 0.5) is None

    @given(
        st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 100)), min_size=1, max_size=12),
        st.floats(0, 1),
        st.floats(0, 1),
    )
    def test_more_accuracy_never_costs_less(self, steps: list[tuple[float, float]], one: float, other: float) -> None:
        accuracy = [a for a, _ in steps]
        sums = metrics.cumulated([j for _, j in steps])
        assert sums is not None
        low, high = (metrics.joules_to_accuracy(accuracy, sums, target) for target in sorted((one, other)))
        if high is not None:
            assert low is not None
            assert 0 <= low <= high * (1 + 1e-9) <= sums[-1] * (1 + 2e-9)


class TestSummary:
    run = StrategyRun(
        name="tfl",
        rounds=rounds(
            (0.3, (task("a", 10.0, work=(9.0, 8.0)), task("b", 30.0, work=(20.0, 25.0)))),
            (0.5, (task("a", 12.0, work=(9.0, 9.0)), task("b", 28.0))),
        ),
        full_accuracy=0.49,
    )

    def test_by_hand(self) -> None:
        got = metrics.summarise(self.run, 0.4)
        assert got.accuracy_by_round == (0.3, 0.5)
        assert got.energy_added_j == 80  # 40 + 40, the aborted 28 J included
        assert got.energy_board_j == 120  # 10 more for each of four tasks
        assert got.joules_to_common_accuracy == pytest.approx(60)
        assert got.board_joules_to_common_accuracy == pytest.approx(90)
        assert got.joules_to_hold_common_accuracy is None
        assert metrics.summarise(self.run, 0.3).board_joules_to_hold_common_accuracy == 120
        assert got.planned_j == 38  # a twice 9, b once 20: its second task was aborted
        assert got.measured_j == 42  # 8 + 9 + 25
        assert got.joules_by_device == {"a": (18.0, 17.0), "b": (20.0, 25.0)}
        assert (got.seconds, got.up_bytes, got.down_bytes, got.samples_trained) == (4.0, 12, 20, 32)
        assert got.full_accuracy == 0.49
        assert got.starved_share is None

    def test_a_task_without_a_meter_leaves_the_joules_unknown(self) -> None:
        got = metrics.summarise(StrategyRun("x", rounds((0.5, (task("a", None),)))), 0.4)
        assert got.energy_added_j is None
        assert got.joules_to_common_accuracy is None
        assert got.planned_j is None
        assert got.up_bytes == 3

    def test_no_round_at_all(self) -> None:
        got = metrics.summarise(StrategyRun("x", ()), None)
        assert got.accuracy_by_round == ()
        assert got.measured_j is None

    def test_the_common_accuracy_is_where_tfl_ends(self) -> None:
        fimi = StrategyRun("fimi", rounds((0.9, ())))
        assert metrics.common_accuracy([fimi, self.run]) == 0.5
        assert metrics.common_accuracy([fimi]) is None


class TestStarved:
    def test_share_of_the_known_windows(self) -> None:
        rows = rounds(
            (0.1, (task("a", 1.0, windows=windows(True, False, None)), task("b", 1.0, windows=windows(False, False))))
        )
        assert metrics.starved_share([StrategyRun("x", rows)]) == 0.25

    def test_unknown_everywhere(self) -> None:
        assert (
            metrics.starved_share([StrategyRun("x", rounds((0.1, (task("a", 1.0, windows=windows(None)),))))]) is None
        )


def test_ratio() -> None:
    assert metrics.ratio(1.0, 4.0) == 0.25
    assert metrics.ratio(None, 4.0) is None
    assert metrics.ratio(1.0, None) is None
    assert metrics.ratio(1.0, 0.0) is None


class TestComparable:
    def run_of(self, *accuracy: float, starved: bool = False) -> RunData:
        work = tuple((a, (task("a", 1.0, windows=windows(starved)),)) for a in accuracy)
        return RunData("r", "r", 0, "added", (), (StrategyRun("tfl", rounds(*work)),), ("x", "y"), None, None, "", {})

    def test_a_run_of_five_rounds_that_learned(self) -> None:
        assert metrics.comparable(self.run_of(0.5, 0.6, 0.8, 0.9, 1.0)) is None

    def test_starved(self) -> None:
        assert "100.0% of the training windows" in (metrics.comparable(self.run_of(*[1.0] * 5, starved=True)) or "")

    def test_too_short(self) -> None:
        assert "4 rounds of tfl are too few" in (metrics.comparable(self.run_of(*[1.0] * 4)) or "")

    def test_near_guessing(self) -> None:
        assert "too near to guessing" in (metrics.comparable(self.run_of(*[0.54] * 5)) or "")

    def test_without_tfl(self) -> None:
        run = self.run_of(1.0)
        assert "no finished round" in (metrics.comparable(dataclasses.replace(run, strategies=())) or "")
