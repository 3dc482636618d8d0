"""The Raspberry Pi firmware's own view of clock and throttling: what `vcgencmd` says, asked through the firmware's
mailbox where this user may open it, because a process for each question costs ten times as much.

Source: the vcgencmd page of Raspberry Pi's documentation. cpufreq repeats what was asked for; the firmware lowers the
clock on its own when it is hot or short of voltage, and says so only here.
"""

from __future__ import annotations

from typing import Protocol

from edge_client.errors import HardwareError
from edge_client.hardware.sysfs import SysFs
from edge_client.protocol.values import Limit

_NOW: tuple[Limit, ...] = ("under_voltage", "capped", "throttled", "soft_limit")
"""Bits 0-3 of get_throttled, in force now; bits 16-19 are the same since boot, and left aside."""


def parse_clock(text: str) -> float | None:
    """'frequency(48)=1500398464' in Hz."""
    _, _, value = text.strip().partition("=")
    return float(value) if value.isdigit() and float(value) > 0 else None


def parse_limits(text: str) -> frozenset[Limit] | None:
    """'throttled=0x50005': what limits the clock now (here under_voltage and throttled)."""
    _, _, value = text.strip().partition("=")
    try:
        bits = int(value, 16)
    except ValueError:
        return None
    return frozenset(name for bit, name in enumerate(_NOW) if bits >> bit & 1)


class Answers(Protocol):
    """Whoever knows the firmware's answers, such as its mailbox."""

    def ask(self, command: str, /) -> str | None:
        """The answer to a whole command, None where there was none."""


class Vcgencmd:
    """The firmware of one board: its mailbox, and the command `path`; either may be missing."""

    def __init__(self, fs: SysFs, path: str | None, mailbox: Answers | None = None) -> None:
        self._fs = fs
        self._path = path
        self._mailbox = mailbox

    def ask(self, *words: str) -> str | None:
        """The answer, or None where the firmware gave none."""
        if self._mailbox is not None and (said := self._mailbox.ask(" ".join(words))) is not None:
            return said
        if self._path is None:
            return None
        try:
            return self._fs.run((self._path, *words))
        except HardwareError:
            return None

    def arm_clock_hz(self) -> float | None:
        text = self.ask("measure_clock", "arm")
        return parse_clock(text) if text else None

    def limits(self) -> frozenset[Limit] | None:
        """What holds the clock down now; None where the firmware does not say."""
        text = self.ask("get_throttled")
        return parse_limits(text) if text else None
