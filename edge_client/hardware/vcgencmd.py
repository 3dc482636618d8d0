"""The Raspberry Pi firmware's own view of clock and throttling: what `vcgencmd` says, asked through the firmware's
mailbox where this user may open it, because a process for each question costs ten times as much.

Source: the vcgencmd page of Raspberry Pi's documentation. cpufreq repeats what was asked for; the firmware lowers the
clock on its own when it is hot or short of voltage, and says so only here.
"""

from __future__ import annotations

from typing import Protocol

from edge_client.errors import HardwareError
from edge_client.hardware.sysfs import SysFs

_NOW = 0b1111
"""Bits 0-3 of get_throttled: under-voltage, frequency capped, throttled, soft temperature limit - in force now."""


def parse_clock(text: str) -> float | None:
    """'frequency(48)=1500398464' in Hz."""
    _, _, value = text.strip().partition("=")
    return float(value) if value.isdigit() and float(value) > 0 else None


def parse_throttled(text: str) -> bool | None:
    """'throttled=0x50005': whether anything limits the clock now (the bits since boot are left aside)."""
    _, _, value = text.strip().partition("=")
    try:
        return bool(int(value, 16) & _NOW)
    except ValueError:
        return None


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

    def throttled(self) -> bool | None:
        text = self.ask("get_throttled")
        return parse_throttled(text) if text else None
