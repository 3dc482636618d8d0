"""Board power of a Raspberry Pi 5 from its power management chip: what `vcgencmd pmic_read_adc` says.

The chip sees 12 rails and neither the 5 V loads beside it (USB, HATs) nor its own loss. One unit measured at its supply
gave P = 1.145 * sum(V * I) + 0.588 W; that is applied here, so that the boundary is the board, and is good to about 5 %
without a calibration of the board at hand. What USB and HATs draw stays unseen. The firmware is asked through its
mailbox where this user may open it, else by the command, which costs ten times as much.
"""

from __future__ import annotations

import re
from typing import Protocol

from edge_client.hardware.interfaces import MeterInfo, Missing

SLOPE = 1.145
OFFSET_W = 0.588

RAILS = frozenset(
    ("3V7_WL_SW", "3V3_SYS", "1V8_SYS", "DDR_VDD2", "DDR_VDDQ", "1V1_SYS", "0V8_SW", "VDD_CORE", "3V3_DAC", "3V3_ADC",
     "0V8_AON", "HDMI")
)  # fmt: skip
"""Rails with both a current and a voltage on a Raspberry Pi 5; a sum without one of them is not the board's."""

COMMAND = "pmic_read_adc"

BOARDS = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5")

_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9]+(?:\.[0-9]+)?)\2\s*$", re.MULTILINE)


def rails_w(text: str) -> dict[str, float]:
    """Watts of each rail that gives both a current and a voltage; a line that is none of these is left out.

    Lines: '3V7_WL_SW_A current(0)=0.00195196A' and '3V7_WL_SW_V volt(8)=3.71230000V'.
    """
    values: dict[str, dict[str, float]] = {}
    for rail, unit, number in _LINE.findall(text):
        values.setdefault(rail, {})[unit] = float(number)
    return {rail: pair["A"] * pair["V"] for rail, pair in values.items() if pair.keys() == {"A", "V"}}


def parse(text: str) -> float | None:
    """Watts of all rails together; None where one that belongs to the sum is missing or garbled, or all are 0."""
    found = rails_w(text)
    total_w = sum(found.values())
    return total_w if found.keys() >= RAILS and total_w > 0 else None


class Firmware(Protocol):
    """Whoever answers: the command, or the mailbox behind it."""

    def ask(self, command: str, /) -> str | None: ...


class Pmic:
    """The Raspberry Pi 5's PMIC."""

    info = MeterInfo(name="pi5-pmic", boundary="board", uncertainty=0.05)

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    def read_power_w(self) -> float | None:
        text = self._firmware.ask(COMMAND)
        watts = parse(text) if text else None
        return None if watts is None else SLOPE * watts + OFFSET_W


def find(firmware: Firmware | None, board: str, mailbox: Firmware | None = None) -> Pmic | Missing:
    """The meter of a Raspberry Pi 5, or why there is none."""
    if not board.startswith(BOARDS):
        return Missing("pmic", f"{board} is no Raspberry Pi 5, the only one whose PMIC measures currents")
    if mailbox is not None and parse(mailbox.ask(COMMAND) or "") is not None:
        return Pmic(mailbox)
    if firmware is None:
        return _lacks("vcgencmd is not installed; sudo apt install raspi-utils")
    text = firmware.ask(COMMAND)
    if text is None:
        return _lacks("vcgencmd pmic_read_adc failed; add this user to the group video: sudo usermod -aG video $USER")
    if text and not rails_w(text):
        return _lacks(
            f"vcgencmd pmic_read_adc says {text.strip()[:60]!r}; update the firmware: sudo rpi-eeprom-update -a"
        )
    return Pmic(firmware)


def _lacks(reason: str) -> Missing:
    return Missing("pmic", reason, there=True)
