"""What a board is fed from, and how hot its processor is: for whoever decides whether it may work now.

Sources: Documentation/ABI/testing/sysfs-class-power of the kernel (type, scope, status, capacity in per cent, online;
of what is left a driver tells energy_now in microwatt-hours, or charge_now in microampere-hours at voltage_now in
microvolts) and Documentation/driver-api/thermal/sysfs-api.rst (temp in thousandths of a degree, type).
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.hardware.sysfs import SysFs

_SUPPLIES = "sys/class/power_supply/*"
_PROCESSORS = ("cpu", "x86_pkg_temp", "soc", "k10temp")
_J_PER_UWH = 3.6e-3
_HOTTEST_C = 150.0  # more is no temperature of a processor that runs


@dataclass(frozen=True)
class Supply:
    """The board's supply: `battery_share` from 0 to 1 (None: it has no battery, or it does not say), whether it is fed
    from outside (None: nothing tells; a board without a battery is), and the joules left in all its batteries (None:
    not all of them tell)."""

    battery_share: float | None
    fed: bool | None
    battery_j: float | None = None


def read_supply(fs: SysFs) -> Supply:
    """The batteries of the system, the lowest, and its supplies; batteries of mice and the like are left aside."""
    shares: list[float] = []
    left_j: list[float | None] = []
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
            left_j.append(_left_j(fs, path))
            discharging |= fs.read(f"{path}/status") == "Discharging"
        elif (state := fs.number(f"{path}/online")) is not None:
            online.append(state > 0)
    if not batteries:
        return Supply(None, fed=True)
    fed = False if discharging else any(online) if online else None
    known_j = [joules for joules in left_j if joules is not None]
    return Supply(min(shares, default=None), fed, sum(known_j) if len(known_j) == len(left_j) else None)


def _left_j(fs: SysFs, battery: str) -> float | None:
    """Joules in one battery."""
    if (energy_uwh := fs.number(f"{battery}/energy_now")) is not None:
        return energy_uwh * _J_PER_UWH if energy_uwh >= 0 else None
    charge_uah, microvolts = fs.number(f"{battery}/charge_now"), fs.number(f"{battery}/voltage_now")
    if charge_uah is None or microvolts is None or charge_uah < 0 or microvolts <= 0:
        return None
    return charge_uah * _J_PER_UWH * microvolts / 1e6


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
