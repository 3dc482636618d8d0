"""From power samples to joules, from clock readings to violations, from PSI to starvation. Pure.

Joules are the integral of sampled power over a window (trapezoid on the monotonic clock), never mean times time: boards
change their power within a window, and a moving average of the sensor is not a mean of the window. A poll that came
late or failed is counted, and the time it leaves uncovered widens the uncertainty; it is never silently zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from edge_client.hardware.interfaces import ClockReading, MeterInfo
from edge_client.protocol.messages import EnergyReading

CLOCK_TOLERANCE = 0.02
"""Relative difference between the clock asked for and the clock seen that counts as a violation."""

STARVED_SHARE = 0.05
"""Share of a window that the trainer may wait for the processor before the window is starved."""


@dataclass(frozen=True, slots=True)
class PowerSample:
    """Watts at `t` (seconds on the monotonic clock); None: the read failed."""

    t: float
    power_w: float | None


def integrate(
    samples: Sequence[PowerSample],
    start: float,
    end: float,
    *,
    period_s: float,
    info: MeterInfo | None,
    idle_power_w: float | None,
) -> EnergyReading:
    """The energy between `start` and `end` (monotonic seconds) from samples that are sorted by time.

    Samples just outside the window serve to interpolate at its edges; without one the first or last value is held.
    A stretch without a good sample is bridged in a straight line and counted in `missed_samples`. `period_s` is the
    time between polls. No meter or no good sample within a period of the window: `energy_j` is None.
    """
    if end < start:
        raise ValueError(f"the window ends ({end}) before it starts ({start})")
    if info is None:
        return unavailable(end - start, "none", idle_power_w)
    good = [(s.t, s.power_w) for s in samples if s.power_w is not None]
    before = max((point for point in good if point[0] <= start), default=None)
    after = min((point for point in good if point[0] >= end), default=None)
    inside = [point for point in good if start < point[0] < end]
    near = [point for point in (before, after) if point and start - period_s <= point[0] <= end + period_s]
    if not inside and not near:
        missed = max(1, round((end - start) / period_s))
        return unavailable(end - start, info.name, idle_power_w, info, missed)

    points = [*([before] if before else []), *inside, *([after] if after and after != before else [])]
    missed, gap_s = gaps([t for t, _ in points], start, end, period_s)
    curve = [(start, _at(points, start)), *inside, (end, _at(points, end))]
    energy_j = sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in pairwise(curve))
    samples_inside = sum(start <= t <= end for t, _ in good)
    return measured(end - start, energy_j, info, idle_power_w, gap_s=gap_s, samples=samples_inside, missed=missed)


def measured(
    duration_s: float,
    energy_j: float,
    info: MeterInfo,
    idle_power_w: float | None,
    *,
    gap_s: float,
    samples: int,
    missed: int,
) -> EnergyReading:
    """A window of which `gap_s` seconds are bridged only; all that is uncertain about it adds in squares.

    The meter's scale, its offset against the mean power, its lag and the gaps against the window's length.
    """
    parts = [info.uncertainty]
    if duration_s > 0:
        parts += [gap_s / duration_s, info.lag_s / duration_s]
    if energy_j > 0:
        parts.append(info.offset_w * duration_s / energy_j)
    return EnergyReading(
        energy_j=energy_j,
        duration_s=duration_s,
        idle_power_w=idle_power_w,
        source=info.source,
        boundary=info.boundary,
        meter=info.name,
        uncertainty=math.hypot(*parts),
        samples=samples,
        missed_samples=missed,
    )


def unavailable(
    duration_s: float, meter: str, idle_power_w: float | None, info: MeterInfo | None = None, missed: int = 0
) -> EnergyReading:
    """A window of which nothing is known but its length."""
    return EnergyReading(
        energy_j=None,
        duration_s=duration_s,
        idle_power_w=idle_power_w,
        source="unavailable",
        boundary=info.boundary if info else None,
        meter=meter,
        uncertainty=None,
        samples=0,
        missed_samples=missed,
    )


def _at(points: Sequence[tuple[float, float]], t: float) -> float:
    """Power at `t`: straight line between neighbours, first or last value beyond them."""
    if t <= points[0][0]:
        return points[0][1]
    for (t0, p0), (t1, p1) in pairwise(points):
        if t <= t1:
            return p0 + (p1 - p0) * (t - t0) / (t1 - t0)
    return points[-1][1]


def gaps(times: Sequence[float], start: float, end: float, period_s: float) -> tuple[int, float]:
    """Polls that are missing between `start` and `end`, and the seconds that this leaves uncovered."""
    missed, gap_s = 0, 0.0
    for a, b in _stretches(times, start, end):
        lost = int((b - a) / period_s - 0.5)
        if lost >= 1:
            missed += lost
            gap_s += b - a
    return missed, gap_s


def _stretches(times: Sequence[float], start: float, end: float) -> Iterator[tuple[float, float]]:
    """The stretches between good samples, cut to the window; the edges too."""
    marks = [start, *(t for t in times if start < t < end), end]
    yield from pairwise(marks)


def mean_power_w(reading: EnergyReading) -> float | None:
    """Mean watts of a reading; None where its energy is unknown or it has no length."""
    return reading.energy_j / reading.duration_s if reading.energy_j is not None and reading.duration_s > 0 else None


def violation_s(readings: Sequence[tuple[float, ClockReading]], start: float, end: float) -> float:
    """Seconds in the window during which the clock was seen elsewhere than asked; each reading holds until the next.

    The verified clock decides where there is one, else the accepted one. What was not read cannot be a violation.
    """
    total = 0.0
    for index, (t, reading) in enumerate(readings):
        until = readings[index + 1][0] if index + 1 < len(readings) else end
        seen = reading.verified_hz if reading.verified_hz is not None else reading.accepted_hz
        if seen is not None and abs(seen - reading.requested_hz) > CLOCK_TOLERANCE * reading.requested_hz:
            total += max(0.0, min(until, end) - max(t, start))
    return total


def typical_hz(values: Sequence[float | None]) -> float | None:
    """The median of what was read; None where nothing was."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def starved(before_us: int | None, after_us: int | None, duration_s: float) -> bool | None:
    """Whether processes waited for the processor over 5 % of the window, from PSI's `total` (microseconds).

    Source: Documentation/accounting/psi.rst of the Linux kernel. None where PSI cannot be read.
    """
    if before_us is None or after_us is None or duration_s <= 0:
        return None
    return (after_us - before_us) / 1e6 / duration_s > STARVED_SHARE
