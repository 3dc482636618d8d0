"""Windows gathered by clock: seconds and joules a sample at each, and how far repeats agree. Pure.

Repeats are few (three or so a clock), so their scatter is pooled: one relative standard deviation s for all clocks,
from the deviations of each window from its clock's mean, divided by the windows less the clocks. The uncertainty of a
clock's mean of n windows is then s / sqrt(n). Without any repeat nothing tells it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from edge_client.accounting import CLOCK_TOLERANCE
from firmware_profiles.calibrated import CalibratedOpp
from tools.calibrate.errors import CalibrateError
from tools.calibrate.rows import Row

LEAST_CLOCKS = 3


def gather(rows: Sequence[Row], source: str) -> tuple[CalibratedOpp, ...]:
    """The operating points, ascending; raises CalibrateError where they are too few to test a law of two coefficients.

    A point stands under the clock that was asked for: within the tolerance it is what the board ran at.
    """
    by_clock: dict[float, list[Row]] = {}
    for row in rows:
        if row.freq_hz is not None:
            by_clock.setdefault(row.freq_hz, []).append(row)
    clocks = sorted(by_clock)
    _refuse_too_few(clocks, by_clock, source)
    for low, high in pairwise(clocks):
        if high - low < CLOCK_TOLERANCE / 10 * high:
            raise CalibrateError(
                f"{source}: lines {by_clock[low][0].line} and {by_clock[high][0].line} have freq_hz {low:.0f} and"
                f" {high:.0f}, one clock for all that a meter can tell; give both the same"
            )
    seconds = pooled([[row.duration_s / row.samples for row in by_clock[clock]] for clock in clocks])
    joules = pooled([[row.energy_j / row.samples for row in by_clock[clock]] for clock in clocks])
    watts = pooled([[row.power_w for row in by_clock[clock]] for clock in clocks])
    return tuple(_opp(clock, by_clock[clock], seconds, joules, watts) for clock in clocks)


def _refuse_too_few(clocks: Sequence[float], by_clock: dict[float, list[Row]], source: str) -> None:
    if len(clocks) >= LEAST_CLOCKS:
        return
    if not clocks:
        raise CalibrateError(f"{source}: no training window is left that counts; measure again")
    lines = " and ".join(f"{clock / 1e6:g} MHz (line {by_clock[clock][0].line})" for clock in clocks)
    said, why = "clock is", "one clock cannot tell what another costs"
    if len(clocks) == 2:
        said, why = "clocks are", "a law of two coefficients passes through any two points and cannot be tested"
    raise CalibrateError(f"{source}: the only {said} {lines}: {why}; measure at least {LEAST_CLOCKS}")


def pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """The relative standard deviation of one window, pooled over clocks; None without repeats, or where all agree."""
    freedom = sum(len(group) for group in groups) - len(groups)
    if freedom == 0:
        return None
    squares = 0.0
    for group in groups:
        mean = sum(group) / len(group)
        squares += sum((value / mean - 1.0) ** 2 for value in group)
    return math.sqrt(squares / freedom) or None


def _opp(
    clock: float, rows: Sequence[Row], seconds: float | None, joules: float | None, watts: float | None
) -> CalibratedOpp:
    samples, root = sum(row.samples for row in rows), math.sqrt(len(rows))
    return CalibratedOpp(
        freq_hz=clock,
        s_per_sample=sum(row.duration_s for row in rows) / samples,
        j_per_sample=sum(row.energy_j for row in rows) / samples,
        s_uncertainty=None if seconds is None else seconds / root,
        j_uncertainty=None if joules is None else joules / root,
        w_uncertainty=None if watts is None else watts / root,
        windows=len(rows),
        samples=samples,
    )
