"""Under which conditions a board may work: not too hot, not on an empty battery, charging, between these hours. Pure.

A condition that was broken must be clearly better before work is taken on again, or a board on the edge would begin and
end a task every few seconds. What nothing tells is no obstacle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

COOLER_C = 5.0
"""A board that was too hot must be so much below its limit again."""

FULLER = 0.05
"""And a battery that was too low, of a share of 1, so much above."""

_HOURS = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")


@dataclass(frozen=True)
class Hours:
    """From the first minute of the day to before the second; over midnight where the first is the later."""

    first_min: int
    last_min: int

    @classmethod
    def parse(cls, text: str) -> Hours:
        """ "22:00-06:30"; raises ValueError."""
        match = _HOURS.match(text)
        if match is None or match[1] + match[2] == match[3] + match[4]:
            raise ValueError(f"hours: {text!r} is no span of the day; give one as 22:00-06:30")
        h0, m0, h1, m1 = (int(part) for part in match.groups())
        return cls(60 * h0 + m0, 60 * h1 + m1)

    def hold(self, minute: int) -> bool:
        """Whether a minute of the day is within."""
        if self.first_min < self.last_min:
            return self.first_min <= minute < self.last_min
        return minute >= self.first_min or minute < self.last_min

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.first_min, self.last_min))


@dataclass(frozen=True)
class Rules:
    """What the owner allows; None or False: no such rule. `min_battery_share` counts while nothing feeds the board."""

    max_temperature_c: float | None = None
    min_battery_share: float | None = None
    only_when_fed: bool = False
    hours: Hours | None = None

    @property
    def any(self) -> bool:
        return self != Rules()


@dataclass(frozen=True)
class Conditions:
    """How things stand: None where nothing tells. `minute` of the local day."""

    minute: int
    temperature_c: float | None = None
    battery_share: float | None = None
    fed: bool | None = None


@dataclass(frozen=True)
class Obstacle:
    """The rule that forbids work, and why in a sentence."""

    rule: Literal["hours", "charging", "battery", "temperature"]
    reason: str


def obstacle(rules: Rules, now: Conditions, before: Obstacle | None = None) -> Obstacle | None:
    """Why the board may not work now; None where it may. `before`: what forbade it at the last look."""
    broken = before.rule if before else None
    if rules.hours is not None and not rules.hours.hold(now.minute):
        clock = f"{now.minute // 60:02}:{now.minute % 60:02}"
        return Obstacle("hours", f"it works between {rules.hours} only, and it is {clock}")
    if rules.only_when_fed and now.fed is False:
        return Obstacle("charging", "it works while it charges only, and it runs on its battery")
    lowest = rules.min_battery_share
    if lowest is not None and now.battery_share is not None and now.fed is not True:
        lowest += FULLER if broken == "battery" else 0.0
        if now.battery_share < lowest:
            return Obstacle("battery", f"its battery is at {now.battery_share:.0%}, it works from {lowest:.0%}")
    hottest_c = rules.max_temperature_c
    if hottest_c is not None and now.temperature_c is not None:
        hottest_c -= COOLER_C if broken == "temperature" else 0.0
        if now.temperature_c > hottest_c:
            said = f"its processor is at {now.temperature_c:.0f} C, it works up to {hottest_c:.0f} C"
            return Obstacle("temperature", said)
    return None


def untold(rules: Rules, now: Conditions) -> list[str]:
    """Rules that cannot be kept on this board, for it does not tell what they are about."""
    lacking = []
    if rules.max_temperature_c is not None and now.temperature_c is None:
        lacking.append("max_temperature_c: no thermal zone tells the processor's temperature")
    if rules.min_battery_share is not None and now.battery_share is None:
        lacking.append("min_battery_percent: no battery tells its charge")
    if rules.only_when_fed and now.fed is None:
        lacking.append("only_when_charging: nothing tells whether the board is charging")
    return lacking
