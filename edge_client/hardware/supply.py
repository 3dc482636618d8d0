"""What a board is fed from, and how hot its processor is: for whoever decides whether it may work now.

Sources: Documentation/ABI/testing/sysfs-class-power of the kernel (type, scope, status, capacity in per cent, online)
and Documentation/driver-api/thermal/sysfs-api.rst (temp in thousandths of a degree, type).
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.hardware.sysfs import SysFs

_SUPPLIES = "sys/class/power_supply/*"
_PROCESSORS = ("cpu", "x86_pkg_temp", "soc", "k10temp")
_HOTTEST_C = 150.0  # more is no temperature of a processor that runs


@dataclass(frozen=True)
class Supply:
    """The board's supply: `battery_share` from 0 to 1 (None: it has no battery, or it does not say), and whether it is
    fed from outside (None: nothing tells; a board without a battery is)."""

    battery_share: float | None
    fed: bool | None


def read_supply(fs: SysFs) -> Supply:
    """The batteries of the system, the lowest, and its supplies; batteries of mice and the like are left aside."""
    shares: list[float] = []
    discharging = batteries = False
    online: list[bool] = []
    for path in fs.glob(_SUPPLIES):
        if fs.read(f"{path}/scope") == "Device":
            continue
        if fs.read(f"{path}/type") == "Battery":
            batteries = True
            percent = fs.number(f"{path}/capacity")
            if percent is not None and 0 <= percent <= 100:
                shares.append(percent / 100)
            discharging |= fs.read(f"{path}/status") == "Discharging"
        elif (state := fs.number(f"{path}/online")) is not None:
            online.append(state > 0)
    if not batteries:
        return Supply(None, fed=True)
    fed = False if discharging else any(online) if online else None
    return Supply(min(shares, default=None), fed)


def processor_zone(fs: SysFs) -> str | None:
    """The thermal zone of the processor; the first where none is called so (a board's PMIC or PLL is none)."""
    zones = fs.glob("sys/class/thermal/thermal_zone*")
    for word in _PROCESSORS:
        for zone in zones:
            if word in (fs.read(f"{zone}/type") or "").lower():
                return zone
    return zones[0] if zones else None


def read_temperature_c(fs: SysFs) -> float | None:
    """Degrees of the processor; None where nothing tells."""
    zone = processor_zone(fs)
    milli = fs.number(f"{zone}/temp") if zone else None
    return milli / 1e3 if milli is not None and milli / 1e3 < _HOTTEST_C else None
