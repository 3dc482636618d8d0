"""Board power from an added INA219 or INA226 on the supply line, through the kernel's ina2xx hwmon driver.

Source: Documentation/hwmon/ina2xx.rst: power1_input in microwatts, in1_input in millivolts (bus), curr1_input in
milliamperes. A Raspberry Pi before the 5 has no sensor of its own. An INA219 breakout stops at 3.2 A.
"""

from __future__ import annotations

from edge_client.hardware.interfaces import MeterInfo
from edge_client.hardware.sysfs import SysFs

CHIPS = {"ina219": 0.02, "ina226": 0.01}
"""Chip and assumed relative uncertainty: a 1 % shunt and the chip's gain error."""


class Ina2xx:
    """One chip at `device` (a folder sys/class/hwmon/hwmonN)."""

    def __init__(self, fs: SysFs, device: str, chip: str) -> None:
        self.info = MeterInfo(name=chip, boundary="board", uncertainty=CHIPS[chip])
        self._fs = fs
        self._device = device

    def read_power_w(self) -> float | None:
        power_uw = self._fs.number(f"{self._device}/power1_input")
        if power_uw is not None:
            return power_uw / 1e6
        voltage_mv = self._fs.number(f"{self._device}/in1_input")
        current_ma = self._fs.number(f"{self._device}/curr1_input")
        return None if voltage_mv is None or current_ma is None else voltage_mv * current_ma / 1e6


def find(fs: SysFs) -> Ina2xx | None:
    """The first such chip, or None."""
    for path in fs.glob("sys/class/hwmon/hwmon*/name"):
        chip = fs.read(path)
        if chip in CHIPS:
            return Ina2xx(fs, path.rpartition("/")[0], chip)
    return None
