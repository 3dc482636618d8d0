"""Turns the answers at the best prices into points that keep every constraint from their numbers alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models import radio
from server.plan.device_step import total_use
from server.plan.fleet import Fleet
from server.plan.points import Points
from server.plan.upload_step import power_shares

_ROUNDING = 1e-11  # relative, of a device's time and power: an overrun that rounding explains


def repair(fleet: Fleet, points: Points, safe: Callable[[], Points]) -> Points:
    """`points` with every constraint kept; `safe` gives a point that keeps them all, and is asked only if need be.

    The search for prices ends where the constraints hold, so mostly nothing moves. At the edge of what can be done the
    points are blended with the safe ones, which is feasible because everything is convex. What error is then left over
    is given back in samples.
    """
    points = tidy(fleet, points)
    if not kept(fleet, points):
        other = safe()
        weight = _least_weight(lambda w: kept(fleet, tidy(fleet, points.blend(other, w))))
        points = without_spare(fleet, tidy(fleet, points.blend(other, weight)))
    return points


def without_spare(fleet: Fleet, points: Points) -> Points:
    """The points with the fewest samples between the local ones and theirs that keep the target."""
    target = fleet.target_error
    if target is None or not fleet.local.all():
        return points
    fewer = replace(points, samples=fleet.local)
    weight = _least_weight(lambda w: fleet.mean_error(fewer.blend(points, w).samples) <= target)
    return tidy(fleet, fewer.blend(points, weight))


def kept(fleet: Fleet, points: Points) -> bool:
    """Whether points keep the target, the medium, the round and the radios' power; samples and clocks are kept by
    `tidy`."""
    if fleet.target_error is not None and fleet.mean_error(points.samples) > fleet.target_error:
        return False
    if total_use(fleet, points) > fleet.capacity:
        return False
    if bool((points.compute_s + points.upload_s > fleet.round_s * (1.0 + _ROUNDING)).any()):
        return False
    return bool((power_shares(fleet, points.upload_s, points.bandwidth_hz) <= 1.0 + _ROUNDING).all())


def _least_weight(holds: Callable[[float], bool]) -> float:
    """The least weight in [0, 1] at which `holds` (false below, true above; taken as true at 1), to rounding."""
    if holds(0.0):
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def tidy(fleet: Fleet, points: Points) -> Points:
    """Samples and clocks within their bounds, uploads as long as a fixed power takes and no shorter than the largest
    one needs, no overrun by rounding."""
    links = fleet.links
    samples = np.clip(points.samples, fleet.local, fleet.most)
    upload_s = points.upload_s
    banded = np.flatnonzero(links.banded)
    if len(banded):
        law = (points.bandwidth_hz[banded], links.power_w[banded], links.noise_w_per_hz[banded])
        full_s = radio.seconds_at_power(fleet.upload_bits[banded], *law)
        upload_s = upload_s.copy()
        upload_s[banded] = np.where(links.fixed_power[banded], full_s, np.maximum(upload_s[banded], full_s))
    trained = fleet.epochs * samples
    compute_s = np.minimum(points.compute_s, fleet.round_s - upload_s)
    compute_s = np.clip(compute_s, trained * fleet.tau_min_s, trained * fleet.tau_idle_s)
    return replace(points, samples=samples, compute_s=compute_s, upload_s=upload_s)
