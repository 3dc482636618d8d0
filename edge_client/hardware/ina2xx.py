"""Board power from an added INA219, INA226 or a sister chip on the supply line, through the kernel's hwmon drivers.

Source: Documentation/hwmon/ina2xx.rst and ina238.rst: power1_input in microwatts, in1_input in millivolts (bus),
curr1_input in milliamperes, negative where the leads are swapped. A Raspberry Pi before the 5 has no sensor of its own.
An INA219 breakout stops at 3.2 A and says no more than that, whatever flows.

Of several chips the supply's is the one that client.toml names ("hwmon:NAME": folder, chip, label or I2C address, as
1-0041), else the one whose label says so, else the one that shows most: the supply carries what all others carry.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from edge_client.hardware.interfaces import MeterInfo, Missing
from edge_client.hardware.sysfs import SysFs

log = logging.getLogger(__name__)

RANGES_UV = {"ina219": 320_000, "ina220": 320_000, "ina226": 81_920, "ina230": 81_920, "ina231": 81_920}
"""Chip and the largest voltage over its shunt (data sheets; INA219: as the driver sets it). Over 0.1 Ohm: 3.2 A."""

_CLIPPED = 0.98  # of the range, from which on the current may be more than the chip can say

CHIPS = {
    "ina219": 0.02, "ina220": 0.02, "ina226": 0.01, "ina230": 0.01, "ina231": 0.01, "ina237": 0.01, "ina238": 0.01,
    "ina260": 0.01,
}  # fmt: skip
"""Chip and assumed relative uncertainty: a 1 % shunt and the chip's gain error."""

SUPPLY = ("supply", "vin", "vdd_in", "5v_in", "sys_in", "board", "total", "input")

_APART = 2.0  # by this factor power1_input and volts times amperes may differ
_ENOUGH_W = 0.5  # to compare them at all: below, steps count


@dataclass(frozen=True)
class Chip:
    """One of them: its folder sys/class/hwmon/hwmonN, chip, label and I2C address ("" where it has none)."""

    folder: str
    chip: str
    label: str
    address: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.folder.rpartition("/")[2], self.chip, self.label, self.address)


class Ina2xx:
    """One chip at `folder`."""

    def __init__(self, fs: SysFs, folder: str, chip: str) -> None:
        self.info = MeterInfo(name=chip, boundary="board", uncertainty=CHIPS[chip], offset_w=0.01)
        self._fs = fs
        self._folder = folder
        shunt_uohm, voltage_mv = fs.number(f"{folder}/shunt_resistor"), fs.number(f"{folder}/in1_input")
        self._most_w = math.inf
        if chip in RANGES_UV and shunt_uohm and voltage_mv:
            self._most_w = _CLIPPED * RANGES_UV[chip] / shunt_uohm * voltage_mv / 1e3

    def read_power_w(self) -> float | None:
        """See PowerMeter; nothing or less is no reading: the board runs, so leads are swapped or open. Nor is all."""
        power_uw = self._fs.number(f"{self._folder}/power1_input")
        power_w = power_uw / 1e6 if power_uw is not None else self.product_w()
        return power_w if power_w is not None and 0 < power_w < self._most_w else None

    def product_w(self) -> float | None:
        """Volts times amperes."""
        voltage_mv = self._fs.number(f"{self._folder}/in1_input")
        current_ma = self._fs.number(f"{self._folder}/curr1_input")
        return None if voltage_mv is None or current_ma is None else voltage_mv * current_ma / 1e6


def find(fs: SysFs, name: str | None = None) -> Ina2xx | Missing:
    """The chip on the supply line, by `name` if one is given."""
    chips = list_chips(fs)
    if not chips:
        return Missing("hwmon", "no INA219 or INA226 below /sys/class/hwmon; add one and its device-tree overlay")
    fit = [chip for chip in chips if name is None or name in chip.names]
    if not fit or (name is not None and len(fit) > 1):
        there = ", ".join("hwmon:" + (chip.address or chip.names[0]) for chip in chips)
        return Missing(
            "hwmon", f"{name!r} names {len(fit) or 'none'} of the chips here; give one of {there}", there=True
        )
    chip = fit[0] if len(fit) == 1 else _supply(fs, fit)
    meter = Ina2xx(fs, chip.folder, chip.chip)
    power, product = f"{chip.folder}/power1_input", meter.product_w()
    why = fs.trouble(power)
    if why is not None and product is None:
        return Missing("hwmon", f"/{power}: {why}; check the driver and this user's rights", there=True)
    power_w = meter.read_power_w()
    if power_w is None or product is None or max(power_w, product) <= _ENOUGH_W:
        return meter
    if not product / _APART <= power_w <= product * _APART:
        said = f"/{power} says {power_w:.3g} W, volts times amperes {product:.3g} W"
        return Missing("hwmon", f"{said}: wrong units or shunt; set shunt_resistor to that of the board", there=True)
    return meter


def list_chips(fs: SysFs) -> list[Chip]:
    """All chips, by number."""
    found = []
    for path in fs.glob("sys/class/hwmon/hwmon*/name"):
        folder, chip = path.rpartition("/")[0], fs.read(path)
        if chip in CHIPS:
            label = fs.read(f"{folder}/label") or fs.read(f"{folder}/in1_label") or ""
            found.append(Chip(folder, chip, label, fs.link(f"{folder}/device")))
    return sorted(found, key=lambda chip: (len(chip.folder), chip.folder))


def _supply(fs: SysFs, chips: list[Chip]) -> Chip:
    labelled = [chip for chip in chips if chip.label.lower() in SUPPLY]
    if len(labelled) == 1:
        return labelled[0]
    shown = [(Ina2xx(fs, chip.folder, chip.chip).read_power_w() or 0.0, chip) for chip in chips]
    _, most = max(shown, key=lambda pair: pair[0])
    listed = ", ".join(f"hwmon:{chip.address or chip.names[0]} {power_w:.2f} W" for power_w, chip in shown)
    log.warning("several power monitors (%s): the one that shows most is taken; name it by `meter`", listed)
    return most
