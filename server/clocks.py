"""The clocks that measured points belong to: those the board ran at, not those it was asked for. Pure.

A board may list a clock that it does not have. A Raspberry Pi 5 lists 1000 MHz and runs at 1500 below that: a plan that
asks for 1000 gets what it was promised, and every segment of it counts as a violation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_client.protocol.messages import OppPoint

TOLERANCE = 0.02
"""A verified clock this close to one, relative, is that one; clients count violations by the same number."""


@dataclass(frozen=True)
class ClockPoint:
    """What a sample costs at a clock of the board: seconds, and whole-board joules (None: no meter).

    `freq_hz` is None at the one operating point of a board that can neither set nor tell its clock.
    """

    freq_hz: float | None
    s_per_sample: float
    j_per_sample: float | None
    starved: bool


def hit(wanted_hz: float, seen_hz: float) -> bool:
    """Whether a clock that was seen is the one that was wanted."""
    return abs(seen_hz - wanted_hz) <= TOLERANCE * wanted_hz


def clock_of(point: OppPoint, opps_hz: Iterable[float]) -> float | None:
    """The operating point that a measurement belongs to; None where the board ran at none of them, or where no clock
    was asked for and none could be read.

    What was not verified ran at the clock that was asked for, as far as anybody knows.
    """
    seen_hz = point.verified_hz
    if point.freq_hz is None:
        return seen_hz
    if seen_hz is None or hit(point.freq_hz, seen_hz):
        return point.freq_hz
    near = [opp_hz for opp_hz in opps_hz if hit(opp_hz, seen_hz)]
    return min(near, key=lambda opp_hz: abs(opp_hz - seen_hz), default=None)


def by_clock(points: Sequence[OppPoint], opps_hz: Sequence[float]) -> list[ClockPoint]:
    """One point a clock, ascending; several that ran at the same clock count by their samples, sound ones alone.

    A point that ran at no operating point of the board (throttled, say) cannot be asked for. It is left out where two
    clocks remain without it; else it stands under the clock that was asked for, for there is nothing better. A point
    without any clock is the only one of its board, or it is left out: no plan could tell it from the others.
    """
    found: dict[float, list[OppPoint]] = {}
    nameless = [point for point in points if point.freq_hz is None and point.verified_hz is None]
    astray = []
    for point in points:
        clock_hz = clock_of(point, opps_hz)
        if clock_hz is not None:
            found.setdefault(clock_hz, []).append(point)
        elif point.freq_hz is not None:
            astray.append((point.freq_hz, point))
    if len(found) < 2:
        for asked_hz, point in astray:
            found.setdefault(asked_hz, [point])
    if not found and nameless:
        return [_merged(None, nameless)]
    return [_merged(clock_hz, same) for clock_hz, same in sorted(found.items())]


def _merged(clock_hz: float | None, points: Sequence[OppPoint]) -> ClockPoint:
    points = [point for point in points if not point.starved] or points
    samples = sum(point.samples for point in points)
    joules = [point.j_per_sample * point.samples for point in points if point.j_per_sample is not None]
    return ClockPoint(
        freq_hz=clock_hz,
        s_per_sample=sum(point.s_per_sample * point.samples for point in points) / samples,
        j_per_sample=sum(joules) / samples if len(joules) == len(points) else None,
        starved=any(point.starved for point in points),
    )
