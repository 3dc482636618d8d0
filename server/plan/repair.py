"""Turns the answers at the best prices into points that keep every constraint from their numbers alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from models import radio
from server.plan.device_step import Points
from server.plan.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable


def repair(fleet: Fleet, points: Points, most_accurate: Points) -> Points:
    """`points` with mean error <= target and times within the round, `most_accurate` being a feasible point.

    The dual search ends where the constraints hold, so mostly nothing moves; at the edge of what can be done the
    points are blended with the most accurate ones, which is feasible because everything is convex. What error is then
    left over is given back in samples.
    """
    target = fleet.target_error
    if target is not None and fleet.mean_error(points.samples) > target:
        weight = _least_weight(lambda w: fleet.mean_error(points.blend(most_accurate, w).samples) <= target)
        points = points.blend(most_accurate, weight)
    if target is not None and fleet.local.all():
        fewer = replace(points, samples=fleet.local)
        weight = _least_weight(lambda w: fleet.mean_error(fewer.blend(points, w).samples) <= target)
        points = fewer.blend(points, weight)
    return _tidy(fleet, points)


def _least_weight(holds: Callable[[float], bool]) -> float:
    """The least weight in [0, 1] at which `holds` (false below, true above; true at 1), to rounding."""
    if holds(0.0):
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _tidy(fleet: Fleet, points: Points) -> Points:
    """No slower than the cheapest clock, no upload slower than a fixed power needs, no overrun by a rounding error."""
    samples = np.clip(points.samples, fleet.local, fleet.most)
    upload_s = points.upload_s.copy()
    fixed = fleet.links.fixed_power
    law = (points.bandwidth_hz[fixed], fleet.links.power_w[fixed], fleet.links.noise_w_per_hz[fixed])
    upload_s[fixed] = radio.seconds_at_power(fleet.upload_bits[fixed], *law)
    trained = fleet.epochs * samples
    compute_s = np.minimum(points.compute_s, fleet.round_s - upload_s)
    compute_s = np.clip(compute_s, trained * fleet.tau_min_s, trained * fleet.tau_idle_s)
    return replace(points, samples=samples, compute_s=compute_s, upload_s=upload_s)
