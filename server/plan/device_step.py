"""The devices' best answer to the prices of error and medium, and what given points cost and take together."""

from __future__ import annotations

import numpy as np

from server.plan.compute_step import compute_joules
from server.plan.crowd import Crowd
from server.plan.fleet import Fleet
from server.plan.points import Points, Step
from server.plan.upload_step import medium_use, upload_joules

__all__ = ["Points", "Step", "device_step", "joules", "total_use"]


def joules(fleet: Fleet, points: Points) -> np.ndarray:
    """E_cmp + E_com (I,) of given points."""
    compute = compute_joules(fleet, points.samples, points.compute_s)
    return compute + upload_joules(fleet, points.upload_s, points.bandwidth_hz)


def total_use(fleet: Fleet, points: Points) -> float:
    """What all devices together take of the medium."""
    return float(medium_use(fleet, points.upload_s, points.bandwidth_hz).sum())


def device_step(fleet: Fleet, price_error_j: float, price_medium_j: float) -> Step:
    """The answers at lambda = price_error_j >= 0 and mu = price_medium_j >= 0, by devices that start from nowhere.

    For devices that cannot end within the round even alone (see `feasible`) the answers are none, the bound still is.
    """
    crowd = Crowd(fleet)
    crowd.at(price_error_j, price_medium_j, 1e-12)
    return crowd.answers()
