"""How much of the host each board gets, and when there is no room for another one. Pure but for `usable_cores`.

The shares sum to at most `usable_share` of the cores, so that every board can always have its own share at once and
wall time is board time; the rest is for the agents, the broker and the server. Shares are proportional to the boards'
relative speeds, so a fleet keeps the order of real boards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

BOARD_MAX = 0.75
"""A worker is one thread: no board can use more than a core, nor rely on a whole one."""
BOARD_MIN = 0.04
"""Below this a governor that looks every 10 ms hands out a quarter of a second's work at a time."""


class AdmissionError(Exception):
    """The host has no room for these boards."""

    exit_code = 2


def shares(relative_speeds: Sequence[float], cores: float, usable_share: float = 0.75) -> tuple[float, ...]:
    """q_max of each board in CPU-seconds per second; raises AdmissionError."""
    budget = cores * usable_share
    scale = min(budget / sum(relative_speeds), BOARD_MAX / max(relative_speeds))
    result = tuple(speed * scale for speed in relative_speeds)
    if min(result) < BOARD_MIN:
        room = _room(relative_speeds, budget)
        raise AdmissionError(
            f"{len(relative_speeds)} boards are too many for {cores:g} cores: the slowest would get {min(result):.3f}"
            f" of a core, at least {BOARD_MIN} is needed; there is room for the first {room}"
        )
    return result


def _room(speeds: Sequence[float], budget: float) -> int:
    fitting = [n for n in range(1, len(speeds)) if budget * min(speeds[:n]) / sum(speeds[:n]) >= BOARD_MIN]
    return max(fitting, default=0)


def usable_cores() -> float:
    """Cores this process may use: its affinity, and the cgroup's quota where there is one."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        pass
    return cores
