"""What is wrong with a virtual board on purpose: clocks that lie, heat, a weak supply, a sensor that fails. Pure.

A board's kernel shows the clock that was asked for. The true one is another: firmware and driver have their own mind.
Here it is worked out from the kernel's clock, the temperature and the power of the moment.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_client.protocol.values import Limit

SOFT_C = 5.0
"""A Pi's firmware tells of its soft limit so much earlier."""

COOLER_C = 4.0
"""So much cooler the clock goes up a step again."""

STEP_S = 0.5
"""Between two steps of throttling, down or up."""

SAG_S = 2.0
"""A capped clock stays so after the supply has recovered."""

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them can be left out; then the board is as its profile says.

    `clock_not_applied`: whatever is asked for, it runs at its top clock. `clock_floor_hz`, `clock_cap_hz`: below and
    above these it runs at them. `clock_boost`: it runs faster than asked for by this share. `throttle_c`: where it is
    slowed down (left out: nowhere); `ambient_c`: the air around it. `under_voltage_w`: above it the supply sags. Of
    its sensor: `sensor_glitch` is the share of readings that are wild; from `sensor_stuck_after_s` on it repeats
    itself, from `sensor_vanishes_after_s` on its files are gone; a counter falls back to 0 at `sensor_range_j`.
    `battery_wh`: it is fed from a battery, full at the start to `battery_start` of 1 and charged with `charger_w`; when
    it is empty the board goes off.
    """

    clock_not_applied: bool = False
    clock_floor_hz: Positive | None = None
    clock_cap_hz: Positive | None = None
    clock_boost: Annotated[float, Meta(ge=0, le=0.3)] = 0.0
    ambient_c: Annotated[float, Meta(ge=-40, le=85)] | None = None
    throttle_c: Positive | None = None
    under_voltage_w: Positive | None = None
    sensor_glitch: Share = 0.0
    sensor_stuck_after_s: Annotated[float, Meta(ge=0)] | None = None
    sensor_vanishes_after_s: Annotated[float, Meta(ge=0)] | None = None
    sensor_range_j: Positive | None = None
    battery_wh: Positive | None = None
    battery_start: Share = 1.0
    charger_w: Annotated[float, Meta(ge=0)] = 0.0


@dataclass(frozen=True)
class Strain:
    """How heat and supply hold the clock down: steps below the top of the table, and the seconds these last."""

    steps: int = 0
    next_step_s: float = 0.0
    sagging_s: float = 0.0
    now: frozenset[Limit] = frozenset()
    since_boot: frozenset[Limit] = frozenset()

    @property
    def bits(self) -> int:
        """As `vcgencmd get_throttled` shows it: 0-3 now, 16-19 since boot."""
        order: tuple[Limit, ...] = ("under_voltage", "capped", "throttled", "soft_limit")
        return sum((name in self.now) << bit | (name in self.since_boot) << bit + 16 for bit, name in enumerate(order))


def strained(faults: Faults, strain: Strain, dt_s: float, temperature_c: float, power_w: float, n_opps: int) -> Strain:
    """The strain `dt_s` seconds later, at this temperature and power, on a board with `n_opps` operating points."""
    steps, next_step_s = strain.steps, max(0.0, strain.next_step_s - dt_s)
    hot_c = math.inf if faults.throttle_c is None else faults.throttle_c
    if next_step_s < 1e-6:
        if temperature_c > hot_c and steps < n_opps - 1:
            steps, next_step_s = steps + 1, STEP_S
        elif temperature_c < hot_c - COOLER_C and steps > 0:
            steps, next_step_s = steps - 1, STEP_S
    sags = faults.under_voltage_w is not None and power_w > faults.under_voltage_w
    sagging_s = SAG_S if sags else max(0.0, strain.sagging_s - dt_s)
    now: set[Limit] = set()
    if steps:
        now.add("throttled")
    if temperature_c > hot_c - SOFT_C:
        now.add("soft_limit")
    if sags:
        now.add("under_voltage")
    if sagging_s:
        now.add("capped")
    return replace(
        strain,
        steps=steps,
        next_step_s=next_step_s,
        sagging_s=sagging_s,
        now=frozenset(now),
        since_boot=strain.since_boot | now,
    )


def true_hz(faults: Faults, strain: Strain, kernel_hz: float, opps_hz: Sequence[float]) -> float:
    """The clock that is in force where the kernel shows `kernel_hz`; `opps_hz` ascending."""
    hz = opps_hz[-1] if faults.clock_not_applied else kernel_hz
    hz *= 1.0 + faults.clock_boost
    hz = max(hz, faults.clock_floor_hz or 0.0)
    hz = min(hz, faults.clock_cap_hz or hz)
    if strain.steps:
        hz = min(hz, opps_hz[max(0, len(opps_hz) - 1 - strain.steps)])
    return opps_hz[0] if strain.sagging_s else hz


@dataclass(frozen=True)
class Battery:
    """Joules in a battery of `full_j`, and whether it is charging."""

    full_j: float
    left_j: float
    charging: bool

    @property
    def percent(self) -> int:
        return round(100 * self.left_j / self.full_j)


def battery(faults: Faults, drawn_j: float, seconds: float) -> Battery | None:
    """The battery after so many seconds in which the board drew so much; None where it has none."""
    if faults.battery_wh is None:
        return None
    full_j = faults.battery_wh * 3600.0
    left_j = full_j * faults.battery_start - drawn_j + faults.charger_w * seconds
    return Battery(full_j, min(max(left_j, 0.0), full_j), faults.charger_w > 0)


class SensorFaults:
    """What a faulty sensor makes of each reading."""

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self._faults = faults
        self._rng = rng

    def shown_w(self, power_w: float, seconds: float) -> float | None:
        """The watts to show `seconds` after the start; None: what was shown before stays."""
        stuck_s = self._faults.sensor_stuck_after_s
        if stuck_s is not None and seconds >= stuck_s:
            return None
        if self._faults.sensor_glitch and self._rng.random() < self._faults.sensor_glitch:
            return power_w * self._rng.choice((0.0, 50.0))
        return power_w

    def gone(self, seconds: float) -> bool:
        """Whether its files are gone."""
        vanishes_s = self._faults.sensor_vanishes_after_s
        return vanishes_s is not None and seconds >= vanishes_s
