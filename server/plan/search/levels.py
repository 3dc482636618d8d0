"""Discrete transmit levels: the one thing that only the exact planner knows."""

from __future__ import annotations

import numpy as np

from server.errors import ConfigError
from server.plan.fleet import Fleet

REFUSED = (
    "radio.levels_w: discrete power levels are planned by the method 'exact' only; leave them out and state "
    "tx_power_max_w"
)


def refuse_levels(fleet: Fleet) -> None:
    """Raises `ConfigError` where a radio has discrete power levels: with them the sub-problems are not convex."""
    levels = fleet.links.levels_w
    if levels is not None and np.isfinite(levels).any():
        raise ConfigError(REFUSED)
