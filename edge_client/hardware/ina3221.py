"""Board power of an NVIDIA Jetson from its INA3221, in both layouts of NVIDIA's kernels.

JetPack 4: sys/bus/i2c/drivers/ina3221x/<address>/iio:device<n>/{rail_name_N,in_powerN_input (mW)}
JetPack 5 and later: sys/bus/i2c/drivers/ina3221/<address>/hwmon/hwmon<n>/{inN_label,inN_input (mV),currN_input (mA)}

The board's total is the rail POM_5V_IN (Nano) or VDD_IN (Orin); the others are parts of it and must never be added.
"""

from __future__ import annotations

from edge_client.hardware.interfaces import MeterInfo
from edge_client.hardware.sysfs import SysFs

TOTALS = ("VDD_IN", "POM_5V_IN", "5V_IN", "SYS_IN")

_UNCERTAINTY = 0.05  # assumed: shunt and offset of the on-board monitor; NVIDIA's guide gives +-5 % above a few watts


class Ina3221Iio:
    """JetPack 4: rail `index` of an iio device."""

    info = MeterInfo(name="ina3221", boundary="board", uncertainty=_UNCERTAINTY)

    def __init__(self, fs: SysFs, device: str, index: int) -> None:
        self._fs = fs
        self._device = device
        self._index = index

    def read_power_w(self) -> float | None:
        power_mw = self._fs.number(f"{self._device}/in_power{self._index}_input")
        return None if power_mw is None else power_mw / 1e3


class Ina3221Hwmon:
    """JetPack 5 and later: channel `index` of an hwmon device; power is voltage times current."""

    info = MeterInfo(name="ina3221", boundary="board", uncertainty=_UNCERTAINTY)

    def __init__(self, fs: SysFs, device: str, index: int) -> None:
        self._fs = fs
        self._device = device
        self._index = index

    def read_power_w(self) -> float | None:
        voltage_mv = self._fs.number(f"{self._device}/in{self._index}_input")
        current_ma = self._fs.number(f"{self._device}/curr{self._index}_input")
        return None if voltage_mv is None or current_ma is None else voltage_mv * current_ma / 1e6


def find(fs: SysFs) -> Ina3221Iio | Ina3221Hwmon | None:
    """The meter of the board's total rail, or None."""
    for path in fs.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"):
        if fs.read(path) in TOTALS:
            device, _, name = path.rpartition("/")
            return Ina3221Iio(fs, device, int(name.removeprefix("rail_name_")))
    for path in fs.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label"):
        if fs.read(path) in TOTALS:
            device, _, name = path.rpartition("/")
            return Ina3221Hwmon(fs, device, int(name.removeprefix("in").removesuffix("_label")))
    return None
