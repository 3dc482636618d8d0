"""From clocks asked for and clocks seen to a verdict: did the board obey, and if not, how did it fail? Pure.

A board may repeat a request and run elsewhere: below 1500 MHz a Raspberry Pi 5 runs at 1500, a driver may forget what
it was told, firmware may boost or cap. One window shows that a clock is off; only what the board did at other requests
shows in which way, so a verdict takes both.

Where no counter tells the true clock, known work does: the training step itself, timed at each clock. A step takes
a + w/f seconds, so it must get faster as the clock goes up unless nearly all of it waits for memory.

A timing tells a clock only while nothing else changes the pace, and on a machine that is shared something does now and
then, for a whole window. So what work alone says against a board counts once a second timing has said the same. A
timing is the mean over its window: the median of its batches would pass over a stall, but over a clock that is held
down by turns as well (a processor that is stopped for shares of each moment, throttling that comes and goes), for most
batches lie between the stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edge_client.accounting import CLOCK_TOLERANCE
from edge_client.protocol.values import ClockFinding

LEAST_STEP = 1.25
"""Clocks closer than this ratio are not told apart by timing work."""

LEAST_GAIN = 0.12
"""Two clocks are one where the higher has brought less than this share of what the step from the lower to the next one
that counts brings to work that never waits. Work that waits for memory during less than seven eighths of its time, at
the higher clock, gains more; and the wider the step, the more may noise add, such as a first window that still warms up
(6 % of a step of a half)."""

FASTEST = 2.0
"""Of the highest clock seen: no work speaks of a faster one."""

WORK_TOLERANCE = 0.25
"""Relative: how far a clock told by work may be from the request before it counts as another one."""

SAME_BY_WORK = 0.1
"""Relative: two timings that tell clocks so near to each other tell the same one. Closer than `LEAST_STEP`: where the
whole machine is slower for a while, requests that far apart still seem further apart than this."""


@dataclass(frozen=True)
class Answer:
    """A clock that was asked for and the clock that was then in force, in hertz."""

    requested_hz: float
    seen_hz: float


def near(a_hz: float, b_hz: float, tolerance: float = CLOCK_TOLERANCE) -> bool:
    """Whether the clock `a_hz` is `b_hz` within `tolerance`, relative to `b_hz`."""
    return abs(a_hz - b_hz) <= tolerance * b_hz


def finding(
    requested_hz: float | None,
    accepted_hz: float | None,
    seen_hz: float | None,
    others: Iterable[Answer] = (),
) -> ClockFinding | None:
    """How the board failed a request; None where it did not, or nothing can be said.

    `seen_hz` is the verified clock, `others` what the board did when asked for other clocks.
    """
    if requested_hz is None:
        return None
    if seen_hz is None or near(seen_hz, requested_hz):
        wrong = seen_hz is None and accepted_hz is not None and not near(accepted_hz, requested_hz)
        return "not_accepted" if wrong else None
    if accepted_hz is not None and not near(accepted_hz, requested_hz):
        return "not_accepted"
    elsewhere = [other for other in others if not near(other.requested_hz, requested_hz)]
    same = [other.requested_hz for other in elsewhere if near(other.seen_hz, seen_hz)]
    fast = seen_hz > requested_hz
    if same:
        beyond = any(
            hz >= seen_hz * (1 - CLOCK_TOLERANCE) if fast else hz <= seen_hz * (1 + CLOCK_TOLERANCE) for hz in same
        )
        if beyond and len(same) == len(elsewhere):
            return "not_applied"
        return "floor" if fast else "cap"
    if fast and any(other.seen_hz > other.requested_hz * (1 + CLOCK_TOLERANCE) for other in elsewhere):
        return "boost"
    return "too_fast" if fast else "too_slow"


# ---- known work as a clock ---------------------------------------------------------------------------------------


def clocks_by_work(
    points: Sequence[tuple[float, float]], first: Sequence[tuple[float, float]] | None = None
) -> list[float]:
    """The clocks at which timed work really ran: `points` are (requested hertz, seconds a sample), in any order.

    Returned in the same order. Neighbours whose times differ by less than any true change of the clock would make ran
    at one clock: the one that a + w/f through the sound points below them gives, else the highest asked for. `first`:
    the same requests as they were timed before some were timed again; then only what took the same time both times ran
    at one clock.
    """
    order = sorted(range(len(points)), key=lambda k: points[k][0])
    hz = [points[k][0] for k in order]
    seconds = [points[k][1] for k in order]
    pairs = _alike(hz, seconds)
    if first is not None:
        pairs &= _alike(hz, [first[k][1] for k in order])
    alike = _stretches(pairs)
    clocks = list(hz)
    for start, last in alike:
        sound = [k for k in range(start) if not any(a <= k <= b for a, b in alike)]
        clock_hz = _invert(
            [hz[k] for k in sound], [seconds[k] for k in sound], float(np.mean(seconds[start : last + 1]))
        )
        nearest = hz[last] if clock_hz is None else min(hz[start : last + 1], key=lambda one: abs(one - clock_hz))
        clocks[start : last + 1] = [nearest] * (last + 1 - start)
    found = dict(zip(order, clocks, strict=True))
    return [found[k] for k in range(len(points))]


def doubtful(points: Sequence[tuple[float, float]]) -> list[float]:
    """The requests, ascending, that must be timed again before `clocks_by_work` may accuse any: those at which the work
    took as good as the same time, the accused and those it was held against, for either may have been disturbed."""
    hz, seconds = [list(column) for column in zip(*sorted(points), strict=True)] if points else ([], [])
    return [one for start, last in _stretches(_alike(hz, seconds)) for one in hz[start : last + 1]]


def _alike(hz: Sequence[float], seconds: Sequence[float]) -> set[tuple[int, int]]:
    """Pairs of ascending clocks, told apart by any work, at which it took as good as the same time."""
    pairs = set()
    for low in range(len(hz)):
        above = [high for high in range(low + 1, len(hz)) if hz[high] / hz[low] >= LEAST_STEP]
        if above:
            most = 1.0 + LEAST_GAIN * (hz[above[0]] / hz[low] - 1.0)
            pairs |= {(low, high) for high in above if seconds[low] / seconds[high] < most}
    return pairs


def _stretches(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs as stretches (start, last) that do not touch each other."""
    merged: list[tuple[int, int]] = []
    for start, last in sorted(pairs):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((start, last))
    return merged


def _invert(hz: Sequence[float], seconds: Sequence[float], took_s: float) -> float | None:
    """The clock at which work takes `took_s`, from a + w/f through at least two points; None where none fits."""
    if len(hz) < 2:
        return None
    slope, base = np.polyfit(1.0 / np.asarray(hz), np.asarray(seconds), 1)
    return float(slope / (took_s - base)) if slope > 0 and took_s > base else None


@dataclass(frozen=True)
class Pace:
    """What known work takes on a board: seconds a sample at each clock, ascending in hertz, two points or more."""

    points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> Pace | None:
        """From (hertz, seconds a sample) as measured; several at one clock count by their mean. None: too few."""
        by_clock: dict[float, list[float]] = {}
        for freq_hz, s_per_sample in points:
            by_clock.setdefault(freq_hz, []).append(s_per_sample)
        if len(by_clock) < 2:
            return None
        return cls(tuple((hz, float(np.mean(seconds))) for hz, seconds in sorted(by_clock.items())))

    def implied_hz(self, s_per_sample: float) -> float:
        """The clock that a time per sample speaks of: in a straight line over 1/f between points and beyond them, up to
        `FASTEST` times the highest."""
        pairs = list(pairwise(self.points))
        (f0, t0), (f1, t1) = next((pair for pair in pairs if s_per_sample >= pair[1][1]), pairs[-1])
        if t0 <= t1:
            return f1
        inverse = 1 / f1 + (s_per_sample - t1) / (t0 - t1) * (1 / f0 - 1 / f1)
        return 1 / max(inverse, 1 / (FASTEST * self.points[-1][0]))

    def verified_hz(self, requested_hz: float, s_per_sample: float) -> float:
        """The request where the work took what it should there, within `WORK_TOLERANCE`; else the implied clock."""
        implied_hz = self.implied_hz(s_per_sample)
        return requested_hz if near(implied_hz, requested_hz, WORK_TOLERANCE) else implied_hz
