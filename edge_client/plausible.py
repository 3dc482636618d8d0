"""Which power samples are to be believed. Pure.

Sensors glitch: a bit flips on the bus, a driver answers 0 while it is busy, a chip hangs and repeats its last value for
ever. A sample that stands alone, several times above or below its neighbours, and a value that does not move at all for
long, are no readings: they are left out and counted as missed, as a failed read is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import median

SPIKE = 4.0
"""A sample so many times above or below the median of itself and two neighbours to each side is a spike."""

STUCK_S = 60.0
"""A value that is repeated to the last digit for so long is no reading. Long, for an idle board may draw the same to a
coarse sensor's step: 40 mW on a Jetson Nano."""

LEAST_STUCK = 30
"""And at least so many times: a slow meter repeats itself by right."""

_SIDE = 2

Sample = tuple[float, float | None]
"""Seconds on the monotonic clock, watts or None."""


def believed(samples: Sequence[Sample]) -> list[Sample]:
    """The samples (sorted by time) with None in place of what is not to be believed."""
    return _without_stuck(_without_spikes(samples))


def _without_spikes(samples: Sequence[Sample]) -> list[Sample]:
    good = [(index, power_w) for index, (_, power_w) in enumerate(samples) if power_w is not None]
    kept = list(samples)
    for place, (index, power_w) in enumerate(good):
        around = [watts for _, watts in good[max(0, place - _SIDE) : place + _SIDE + 1]]
        middle = median(around)
        if len(around) > _SIDE and middle > 0 and not middle / SPIKE <= power_w <= middle * SPIKE:
            kept[index] = (samples[index][0], None)
    return kept


def _without_stuck(samples: Sequence[Sample]) -> list[Sample]:
    kept: list[Sample] = []
    for power_w, group in groupby(samples, key=lambda sample: sample[1]):
        run = list(group)
        stuck = power_w is not None and len(run) >= LEAST_STUCK and run[-1][0] - run[0][0] >= STUCK_S
        kept += [(t, None) for t, _ in run] if stuck else run
    return kept
