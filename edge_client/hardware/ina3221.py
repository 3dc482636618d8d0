"""Board power of an NVIDIA Jetson from its INA3221, in both layouts of NVIDIA's kernels.

JetPack 4: sys/bus/i2c/drivers/ina3221x/<address>/iio:device<n>/{rail_name_N,in_powerN_input (mW)}
JetPack 5 and later: sys/bus/i2c/drivers/ina3221/<address>/hwmon/hwmon<n>/{inN_label,inN_input (mV),currN_input (mA)},
N from 1 to 3; in4 to in6 are shunt voltages and in7 their sum (Documentation/hwmon/ina3221.rst). A channel whose
inN_enable is 0 cannot be read.

The board's total is the rail POM_5V_IN (Nano) or VDD_IN (Orin); the others are parts of it and must never be added.
Labels come from the device tree and can be wrong: a total below one of its parts is none.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_client.hardware.interfaces import MeterInfo, Missing
from edge_client.hardware.sysfs import SysFs

log = logging.getLogger(__name__)

TOTALS = ("VDD_IN", "POM_5V_IN", "5V_IN", "SYS_IN")

_RANGE_UV = 163_800  # of the voltage over a shunt (data sheet): 32.76 A over 5 mOhm
_CHECK_EVERY = 50  # reads: five seconds at 10 Hz
_PROOFS = 3  # the rails are not read at the same instant: one glance proves nothing
_SLACK, _SLACK_W = 1.05, 0.1  # by so much a part may exceed its total: noise, steps, and that instant


@dataclass(frozen=True)
class Rail:
    """One channel: its label and files; `power` (mW) where the driver multiplies, else `volts` (mV) and `amps` (mA)."""

    label: str
    power: str | None
    volts: str
    amps: str
    enable: str | None = None
    most_ma: float = math.inf

    def read_w(self, fs: SysFs) -> float | None:
        """Watts; None where they cannot be read, or the current is at the end of the chip's range and may be more."""
        if self.power is not None and (power_mw := fs.number(self.power)) is not None:
            return power_mw / 1e3
        voltage_mv, current_ma = fs.number(self.volts), fs.number(self.amps)
        if voltage_mv is None or current_ma is None or current_ma >= self.most_ma:
            return None
        return voltage_mv * current_ma / 1e6

    @property
    def files(self) -> tuple[str, ...]:
        return (self.power,) if self.power is not None else (self.volts, self.amps)


class Ina3221:
    """The total rail of a board, held against its parts now and then."""

    info = MeterInfo(name="ina3221", boundary="board", uncertainty=0.05, offset_w=0.02)  # NVIDIA's guide: +-5 %

    def __init__(self, fs: SysFs, total: Rail, parts: Sequence[Rail]) -> None:
        self._fs = fs
        self._total = total
        self._parts = parts
        self._reads = 0
        self._proofs = 0

    def read_power_w(self) -> float | None:
        """See PowerMeter; None too where the rail shows nothing, which no running board does, or its label lies."""
        if self._proofs >= _PROOFS:
            return None
        power_w = self._total.read_w(self._fs)
        if power_w is None or power_w <= 0:
            return None
        self._reads += 1
        if self._reads % _CHECK_EVERY == 0:
            self._check(power_w)
        return power_w

    def _check(self, total_w: float) -> None:
        lie = excess(self._fs, self._total, self._parts, total_w)
        self._proofs = self._proofs + 1 if lie else 0
        if self._proofs >= _PROOFS:
            log.error("this meter is not used any more: %s", lie)


def excess(fs: SysFs, total: Rail, parts: Sequence[Rail], total_w: float) -> str | None:
    """What shows that the total's label is wrong, or None."""
    for part in parts:
        part_w = part.read_w(fs)
        if part_w is not None and part_w > _SLACK * total_w + _SLACK_W:
            return (
                f"the rail {total.label} shows {total_w:.2f} W and {part.label}, a part of it, {part_w:.2f} W: "
                "their labels are wrong; use another meter"
            )
    return None


def find(fs: SysFs) -> Ina3221 | Missing:
    """The meter of the board's total rail, or why there is none."""
    rails = [*_iio(fs), *_hwmon(fs)]
    totals = [rail for rail in rails if rail.label in TOTALS]
    if not rails:
        return Missing("ina3221", "no INA3221 below /sys/bus/i2c/drivers; only NVIDIA's boards have one")
    if len(totals) != 1:
        labels = ", ".join(rail.label for rail in rails)
        found = "more than one" if totals else "none"
        return _lacks(f"of its rails {labels} {found} is called {' or '.join(TOTALS)}; use jtop or a smart plug")
    total = totals[0]
    if total.enable is not None and fs.read(total.enable) == "0":
        return _lacks(f"the channel of {total.label} is off; echo 1 | sudo tee /{total.enable}")
    parts, total_w = [rail for rail in rails if rail is not total], total.read_w(fs)
    for file in total.files:
        if total_w is None and (why := fs.trouble(file)):
            return _lacks(f"/{file}: {why}; check the driver and this user's rights")
    if total_w is not None and total_w > 0 and (lie := excess(fs, total, parts, total_w)):
        return _lacks(lie)
    return Ina3221(fs, total, parts)


def _lacks(reason: str) -> Missing:
    return Missing("ina3221", reason, there=True)


def _iio(fs: SysFs) -> Iterator[Rail]:
    for path in fs.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"):
        device, _, name = path.rpartition("/")
        index = name.removeprefix("rail_name_")
        label, power = fs.read(path), f"{device}/in_power{index}_input"
        if index.isdecimal() and label and label != "NC":
            volts, amps = f"{device}/in_voltage{index}_input", f"{device}/in_current{index}_input"
            yield Rail(label, power, volts, amps)


def _hwmon(fs: SysFs) -> Iterator[Rail]:
    for path in fs.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[123]_label"):
        device, _, name = path.rpartition("/")
        index = re.sub(r"\D", "", name)
        if (label := fs.read(path)) and label != "NC":
            volts, amps = f"{device}/in{index}_input", f"{device}/curr{index}_input"
            shunt_uohm = fs.number(f"{device}/shunt{index}_resistor")
            most_ma = _RANGE_UV / shunt_uohm * 1e3 if shunt_uohm else math.inf
            yield Rail(label, None, volts, amps, f"{device}/in{index}_enable", most_ma)
