"""Which meter a board is measured with. Nothing is changed here; of the meters only jtop is asked to answer once.

Left to itself ("auto"), the client takes what sees most of the board soonest: a plug that somebody has set up, an added
sensor on the supply line, the board's own, the processor's counters, and last, where this board was calibrated or a
shipped profile fits it, a model that is called one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edge_client.hardware import ina2xx, ina3221, jtop_meter, mailbox, modelled, pmic, rapl
from edge_client.hardware.interfaces import Meter, Missing
from edge_client.hardware.plug import Plug, PlugSettings
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.vcgencmd import Vcgencmd
from firmware_profiles.calibrated import Calibration

Kind = Literal["plug", "hwmon", "ina3221", "jtop", "pmic", "rapl", "modelled"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which "auto" takes them."""


@dataclass(frozen=True)
class Wanted:
    """What client.toml says: `meter` is "auto", "none", a kind, or "hwmon:NAME"; `profile` and `calibration` are what
    "modelled" computes with, the calibration before the profile."""

    meter: str = "auto"
    plug: PlugSettings | None = None
    profile: str | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        kind, _, name = self.meter.partition(":")
        if self.meter not in ("auto", "none", *KINDS) and not (kind == "hwmon" and name):
            raise ValueError(f"meter: {self.meter!r} is not known; use auto, none, {', '.join(KINDS)} or hwmon:NAME")
        if self.meter == "plug" and self.plug is None:
            raise ValueError("meter: is plug, but which one is not said; add [plug] with kind, broker and topic")


@dataclass(frozen=True)
class Found:
    """The meter, or None with the reason; `passed_over`: what is there and could not be used."""

    meter: Meter | None
    reason: str
    passed_over: tuple[Missing, ...] = ()


def find(fs: SysFs, board: str, firmware: Vcgencmd | None, wanted: Wanted) -> Found:
    """The meter that is wanted; raises ConfigError where `wanted.profile` is no profile."""
    looks = _looks(fs, board, firmware, wanted)
    if wanted.meter == "none":
        return Found(None, 'meter = "none"')
    if wanted.meter != "auto":
        one = looks[wanted.meter.partition(":")[0]]()
        return Found(None, one.reason) if isinstance(one, Missing) else Found(one, "")
    passed_over: list[Missing] = []
    for kind in KINDS:
        one = looks[kind]()
        if not isinstance(one, Missing):
            return Found(one, "", tuple(passed_over))
        if one.there:
            passed_over.append(one)
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in passed_over)
    return Found(
        None, reasons or "this board has no meter that is known; add a smart plug or an INA219", tuple(passed_over)
    )


def survey(fs: SysFs, board: str, firmware: Vcgencmd | None, wanted: Wanted) -> dict[str, Meter | Missing]:
    """Every kind: its meter, or why it cannot be used."""
    return {kind: look() for kind, look in _looks(fs, board, firmware, wanted).items()}


def _looks(
    fs: SysFs, board: str, firmware: Vcgencmd | None, wanted: Wanted
) -> dict[str, Callable[[], Meter | Missing]]:
    name = wanted.meter.partition(":")[2] or None
    elsewhere = Missing("jtop", f"its service knows this machine, not the board below {fs.root}; leave --root out")
    no_plug = Missing("plug", "none is set up; add [plug] with kind, broker and topic to client.toml")
    return {
        "plug": lambda: Plug(wanted.plug) if wanted.plug else no_plug,
        "hwmon": lambda: ina2xx.find(fs, name),
        "ina3221": lambda: ina3221.find(fs),
        "jtop": lambda: jtop_meter.find() if fs.root == Path("/") else elsewhere,
        "pmic": lambda: pmic.find(firmware, board, mailbox.find(fs)),
        "rapl": lambda: rapl.find(fs),
        "modelled": lambda: modelled.find(fs, board, wanted.profile, wanted.calibration),
    }
