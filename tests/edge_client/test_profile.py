"""A profile in which one window is disturbed, and one of a board that lies: clocks in doubt are measured a second time.

The board takes 4 ms + 6 ms GHz / f a sample: 16, 12, 10 and 8 ms at 0.5, 0.75, 1 and 1.5 GHz.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_client.agent.obedience import Memory, Obedience
from edge_client.agent.profile import measured_twice
from edge_client.protocol.messages import OppPoint
from tests.edge_client.test_obedience import JOB, point

CLOCKS = (1.5e9, 1.0e9, 0.75e9, 0.5e9)


def took_s(hz: float) -> float:
    return 0.004 + 6e6 / hz


class Trainer:
    """Takes `took_s` at the clock that `true_hz` makes of a request; window number k (from 0) so many times as long
    as `pace` says. `starved`: the windows in which it waited for the processor."""

    def __init__(
        self, true_hz: Callable[[float], float], pace: dict[int, float], starved: frozenset[int] = frozenset()
    ) -> None:
        self.true_hz, self.pace, self.starved = true_hz, pace, starved
        self.asked: list[float] = []

    async def measure_at(self, freq_hz: float | None) -> OppPoint:
        assert freq_hz is not None
        k = len(self.asked)
        self.asked.append(freq_hz)
        s_per_sample = took_s(self.true_hz(freq_hz)) * self.pace.get(k, 1.0)
        return point(freq_hz, s_per_sample, freq_hz, starved=k in self.starved)


async def profiled(trainer: Trainer) -> tuple[dict[float, OppPoint], Memory]:
    kept: list[Memory] = []
    board = Obedience(keep=kept.append)
    first, points = await measured_twice(CLOCKS, trainer.measure_at, lambda points: board.doubtful(points, "driver"))
    judged = board.profiled(JOB, points, "driver", first)
    return {one.freq_hz: one for one in judged if one.freq_hz is not None}, kept[-1]


@pytest.mark.parametrize(
    ("slowed", "again"),
    [
        # 10.4 ms at 1.5 GHz, 10 at 1: by the sound clocks below it is the slowed one that would be accused, of a cap
        (0, [1.5e9, 1.0e9]),
        # 15.6 ms at 0.75 GHz, 16 at 0.5: its sound neighbour would be accused, of running at 0.75
        (2, [0.75e9, 0.5e9]),
    ],
    ids=["the suspect was slow", "its neighbour was slow"],
)
async def test_one_window_slowed_by_30_percent_accuses_nobody(slowed: int, again: list[float]) -> None:
    once = Obedience().profiled(
        JOB, [point(hz, took_s(hz) * (1.3 if k == slowed else 1.0), hz) for k, hz in enumerate(CLOCKS)], "driver"
    )
    assert {one.finding for one in once} - {None}  # so it was, with each clock timed once
    trainer = Trainer(lambda hz: hz, {slowed: 1.3})
    points, memory = await profiled(trainer)
    assert trainer.asked == [*CLOCKS, *again]
    assert {hz: one.s_per_sample for hz, one in points.items()} == {hz: took_s(hz) for hz in CLOCKS}
    assert {(one.finding, one.verified_by) for one in points.values()} == {(None, "driver")}
    assert memory.pace is not None
    assert memory.pace[1].points == tuple((hz, took_s(hz)) for hz in sorted(CLOCKS))


async def test_a_window_that_was_too_quick_is_replaced_too() -> None:
    """A host's pace goes up as well: 8 ms at 1 GHz, as at 1.5."""
    points, _ = await profiled(Trainer(lambda hz: hz, {1: 0.8}))
    assert points[1.0e9].s_per_sample == took_s(1.0e9)
    assert {one.finding for one in points.values()} == {None}


@pytest.mark.parametrize(
    ("true_hz", "findings"),
    [
        (lambda _: 1.5e9, ["not_applied", "not_applied", "not_applied", None]),
        (lambda hz: max(hz, 1.0e9), ["floor", "floor", None, None]),
        (lambda hz: min(hz, 1.0e9), [None, None, None, "cap"]),
    ],
    ids=["not applied", "floor", "cap"],
)
async def test_a_board_that_lies_says_the_same_again(
    true_hz: Callable[[float], float], findings: list[str | None]
) -> None:
    trainer = Trainer(true_hz, {})
    points, _ = await profiled(trainer)
    assert [points[hz].finding for hz in sorted(CLOCKS)] == findings
    assert len(trainer.asked) <= 2 * len(CLOCKS)


@pytest.mark.parametrize("k", range(8))
async def test_one_slow_window_hides_no_clock_that_is_not_applied(k: int) -> None:
    points, _ = await profiled(Trainer(lambda _: 1.5e9, {k: 1.3}))
    assert sum(points[hz].finding is not None for hz in (0.5e9, 0.75e9, 1.0e9)) >= 2


async def test_what_only_the_second_timing_says_is_no_finding() -> None:
    """At first 1.5 GHz was slow (as at 1), then 1 GHz is (13 ms, slower than 0.75): neither is said twice."""
    points, _ = await profiled(Trainer(lambda hz: hz, {0: 1.3, 5: 1.3}))
    assert {one.finding for one in points.values()} == {None}


async def test_a_second_window_that_was_starved_leaves_the_question_open() -> None:
    """The point stands as starved, for which the server has the board measured once more."""
    points, _ = await profiled(Trainer(lambda _: 1.5e9, {}, frozenset({4, 5, 6, 7})))
    assert {(one.finding, one.starved) for one in points.values()} == {(None, True)}


async def test_sound_profiles_take_no_second_window() -> None:
    trainer = Trainer(lambda hz: hz, {})
    await profiled(trainer)
    assert trainer.asked == list(CLOCKS)
