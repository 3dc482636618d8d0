"""Does a card send with the power it was told to? Only whoever hears it can say: the access point.

Two powers are set and the access point is asked for its signal each time. Where the signal follows by half of what was
asked or more, the card heeds its setting (`enforced`); where it does not, the knob moves nothing, whatever is read
back, and plans had better leave it alone (`unsupported`). What was found is kept with the interface and the date.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from edge_client.errors import HardwareError
from edge_client.hardware.interfaces import TxCapability
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.txpower import IwTxPower, to_dbm, to_w

STEP_DB = 10.0
"""Between the two powers."""

READINGS = 5
"""At each power, of which the median counts: signals wander by a few dB."""

LEAST_SHARE = 0.5
"""Of the step, that the signal must follow."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a check brought; in `state_dir/radio.json`."""

    interface: str
    capability: Literal["enforced", "unsupported"]
    asked_db: float
    followed_db: float
    date: str


def verdict(asked_db: float, followed_db: float) -> Literal["enforced", "unsupported"]:
    """What a signal that followed a step of `asked_db` by `followed_db` says of the card."""
    return "enforced" if followed_db >= LEAST_SHARE * asked_db else "unsupported"


def signal_reader(fs: SysFs, command: str) -> Callable[[], float]:
    """Asks the access point: runs `command` and takes the last number it prints as dBm; raises HardwareError."""
    words = shlex.split(command)

    def read() -> float:
        said = fs.run(words)
        numbers = _NUMBER.findall(said)
        if not numbers or not -120.0 <= float(numbers[-1]) <= 0.0:
            raise HardwareError(f"{command}: printed {said.strip()[-60:]!r}; its last number must be dBm, as -52")
        return float(numbers[-1])

    return read


def check(
    card: IwTxPower,
    signal_dbm: Callable[[], float],
    settle_s: float = 3.0,
    pause: Callable[[float], None] = time.sleep,
) -> Found:
    """Set two powers in turn and ask for the signal at each; the card is put back. Raises HardwareError."""
    before_w = card.read_w()
    if before_w is None:
        raise HardwareError(f"{card.interface} does not tell its transmit power; is it up?")
    high_dbm = min(to_dbm(before_w), card.limit_dbm() or to_dbm(before_w))
    medians = []
    for dbm in (high_dbm, high_dbm - STEP_DB):
        with card.hold(to_w(dbm)):
            readings = []
            for _ in range(READINGS):
                pause(settle_s)
                readings.append(signal_dbm())
        medians.append(median(readings))
    followed_db = medians[0] - medians[1]
    return Found(
        interface=card.interface,
        capability=verdict(STEP_DB, followed_db),
        asked_db=STEP_DB,
        followed_db=round(followed_db, 1),
        date=time.strftime("%Y-%m-%d"),
    )


def keep(path: Path, found: Found) -> None:
    """Write it down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(found))


def recall(path: Path, interface: str) -> TxCapability | None:
    """What was found of this interface; None where nothing was."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Found)
    except (OSError, msgspec.MsgspecError):
        return None
    return found.capability if found.interface == interface else None
