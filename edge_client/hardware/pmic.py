"""Board power of a Raspberry Pi 5 from its power management chip: `vcgencmd pmic_read_adc`.

The chip sees 12 rails and neither the 5 V loads beside it nor its own loss. One unit measured at the wall gave
P = 1.145 * sum(V * I) + 0.588 W; without a calibration of the board at hand the formula is good to about 5 %.
"""

from __future__ import annotations

import re

from edge_client.hardware.interfaces import MeterInfo
from edge_client.hardware.vcgencmd import Vcgencmd

SLOPE = 1.145
OFFSET_W = 0.588

_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$")


def parse(text: str) -> float | None:
    """Watts of all rails that give both a current and a voltage; None where no rail does.

    Lines: '3V7_WL_SW_A current(0)=0.00195196A' and '3V7_WL_SW_V volt(8)=3.71230000V'.
    """
    values: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if match := _LINE.match(line):
            rail, kind, number = match.groups()
            values.setdefault(rail, {})[kind] = float(number)
    pairs = [rail for rail in values.values() if rail.keys() == {"A", "V"}]
    return sum(rail["A"] * rail["V"] for rail in pairs) if pairs else None


class Pmic:
    """The Raspberry Pi 5's PMIC."""

    info = MeterInfo(name="pi5-pmic", boundary="board", uncertainty=0.05)

    def __init__(self, firmware: Vcgencmd) -> None:
        self._firmware = firmware

    def read_power_w(self) -> float | None:
        text = self._firmware.ask("pmic_read_adc")
        rails_w = parse(text) if text else None
        return None if rails_w is None else SLOPE * rails_w + OFFSET_W
