"""From readings of an energy counter to joules. Pure.

A counter has already integrated: between two good readings its difference is exact, however the power moved and however
late the polls came. Only the edges of a window, which fall between two polls, and a counter that began anew leave
something to guess: there the power of the neighbouring stretches is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge_client.accounting import gaps, measured, unavailable
from edge_client.hardware.interfaces import MeterInfo
from edge_client.protocol.messages import EnergyReading

_LATE = 1.5
"""Periods from which on a stretch at a window's edge counts as uncovered, as for polls of power."""


@dataclass(frozen=True, slots=True)
class CounterSample:
    """Joules counted up to `t` (seconds on the monotonic clock); None: the read failed."""

    t: float
    energy_j: float | None


@dataclass(frozen=True)
class _Stretch:
    """Between two good readings: mean watts, or None where nothing was read or the counter began anew."""

    start: float
    end: float
    power_w: float | None

    def within(self, start: float, end: float) -> float:
        """Seconds of it in a window."""
        return min(self.end, end) - max(self.start, start)


def difference(
    samples: Sequence[CounterSample],
    start: float,
    end: float,
    *,
    period_s: float,
    info: MeterInfo,
    idle_power_w: float | None,
) -> EnergyReading:
    """The energy between `start` and `end` (monotonic seconds) from readings that are sorted by time.

    `period_s` is the time between polls. Without two good readings on end within a period of the window `energy_j` is
    None. `missed_samples` counts polls that came late or failed, though the joules between them are not lost.
    """
    if end < start:
        raise ValueError(f"the window ends ({end}) before it starts ({start})")
    good = [(s.t, s.energy_j) for s in samples if s.energy_j is not None]
    stretches = [
        _Stretch(t0, t1, (e1 - e0) / (t1 - t0) if e1 >= e0 else None)
        for (t0, e0), (t1, e1) in pairwise(good)
        if t1 > t0 and t1 >= start - period_s and t0 <= end + period_s
    ]
    known = [stretch for stretch in stretches if stretch.power_w is not None]
    missed, _ = gaps([t for t, _ in good], start, end, period_s)
    if not known:
        return unavailable(end - start, info.name, idle_power_w, info, max(1, missed))
    energy_j, gap_s = 0.0, 0.0
    for stretch in _cover(stretches, start, end):
        inside_s = stretch.within(start, end)
        power_w = _nearby_w(known, stretch) if stretch.power_w is None else stretch.power_w
        energy_j += power_w * inside_s
        guessed = stretch.power_w is None or stretch.start < start or stretch.end > end
        if guessed and stretch.end - stretch.start > _LATE * period_s:
            gap_s += inside_s
    inside = sum(start <= t <= end for t, _ in good)
    return measured(end - start, energy_j, info, idle_power_w, gap_s=gap_s, samples=inside, missed=missed)


def _cover(stretches: Sequence[_Stretch], start: float, end: float) -> list[_Stretch]:
    """What covers the window without a hole: the stretches, and unknown ones before the first and after the last."""
    before = _Stretch(start, min(stretches[0].start, end), None)
    after = _Stretch(max(stretches[-1].end, start), end, None)
    return [stretch for stretch in (before, *stretches, after) if stretch.within(start, end) > 0]


def _nearby_w(known: Sequence[_Stretch], unknown: _Stretch) -> float:
    """The mean of the last known power before an unknown stretch and the first after it."""
    before = [stretch.power_w for stretch in known if stretch.end <= unknown.start][-1:]
    after = [stretch.power_w for stretch in known if stretch.start >= unknown.end][:1]
    beside = [power_w for power_w in (*before, *after) if power_w is not None]
    return sum(beside) / len(beside)
