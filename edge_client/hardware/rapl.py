"""Joules of the processor packages from RAPL, through the kernel's powercap files; AMD's processors use the same.

Source: Documentation/power/powercap/powercap.rst. sys/class/powercap/intel-rapl:N is a package (name "package-N", on
dies "package-N-die-M") or, on laptops, the whole platform ("psys", which holds the packages); intel-rapl:N:M are parts
of a package. energy_uj counts microjoules and falls back to 0 past max_energy_range_uj. intel-rapl-mmio and -tpmi show
the same packages a second time. Since 2020 only root may read energy_uj.

The joules are those of the packages: a lower bound of the board's, without memory on most, supply, disk and network.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_client.hardware.interfaces import MeterInfo, Missing
from edge_client.hardware.sysfs import SysFs

_ZONE = re.compile(r"intel-rapl(-[a-z]+)?:\d+$")
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?$")
_MOST_W = 1000.0  # of one package; more means that the counter jumped, or may have wrapped more than once
_STILL_S = 0.1  # the hardware counts on every millisecond
_LOOK_S = 0.002


@dataclass(frozen=True)
class Package:
    """One counter: the folder of its files, and where it wraps."""

    name: str
    folder: str
    range_uj: float

    @property
    def energy(self) -> str:
        return f"{self.folder}/energy_uj"


class Rapl:
    """The sum of all packages, unwrapped."""

    info = MeterInfo(name="rapl", boundary="cpu_package", uncertainty=0.05)  # assumed: of scale, between processors

    def __init__(self, fs: SysFs, packages: Sequence[Package], now: Callable[[], float] = time.monotonic) -> None:
        self._fs = fs
        self._packages = packages
        self._now = now
        self._last: tuple[float, list[float]] | None = None
        self._total_j = 0.0
        self._starts = 0

    def read_energy_j(self) -> float | None:
        """See EnergyCounter. A counter that has not moved since the last read is no reading: it always moves."""
        now, raws = self._now(), [self._fs.number(package.energy) for package in self._packages]
        raw_uj = [raw for raw in raws if raw is not None]
        if len(raw_uj) < len(raws):
            return None
        if self._last is None:
            self._last = (now, raw_uj)
            return self._total_j
        then, last_uj = self._last
        if any(raw == last for raw, last in zip(raw_uj, last_uj, strict=True)):
            return None
        self._last = (now, raw_uj)
        grown_j = 0.0
        for package, raw, last in zip(self._packages, raw_uj, last_uj, strict=True):
            delta_j = (raw - last if raw > last else raw - last + package.range_uj) / 1e6
            most_j = _MOST_W * (now - then)
            if not 0 < delta_j <= most_j or most_j >= package.range_uj / 1e6:
                return self._begin_anew()
            grown_j += delta_j
        self._total_j += grown_j
        return self._total_j

    def _begin_anew(self) -> float:
        """What happened since the last read cannot be known: go on below every value before."""
        self._starts += 1
        self._total_j = -float(self._starts)
        return self._total_j


def find(fs: SysFs, pause: Callable[[float], None] = time.sleep) -> Rapl | Missing:
    """The packages of this machine. `pause(seconds)` passes while a counter is watched for moving."""
    packages: dict[str, Package] = {}
    zones = [path for path in fs.glob("sys/class/powercap/intel-rapl*:*") if _ZONE.search(path)]
    for folder in sorted(zones, key=lambda path: (len(path), path)):  # intel-rapl:N before intel-rapl-mmio:N
        name = fs.read(f"{folder}/name") or ""
        if not _PACKAGE.match(name) or name in packages:
            continue
        range_uj = fs.number(f"{folder}/max_energy_range_uj")
        if range_uj is None or range_uj <= 0:
            return _lacks(f"/{folder}/max_energy_range_uj: {fs.trouble(f'{folder}/max_energy_range_uj') or 'no number'}"
                          "; without it a counter that wraps cannot be told from one that jumps")  # fmt: skip
        packages[name] = Package(name, folder, range_uj)
    if not packages:
        return Missing("rapl", "no processor package below /sys/class/powercap; load the module intel_rapl_msr on x86")
    for package in packages.values():
        if why := fs.trouble(package.energy):
            return _lacks(f"/{package.energy}: {why}; let this user read it: sudo chmod o+r /{package.energy}")
        if not _moves(fs, package.energy, pause):
            return _lacks(f"/{package.energy} stands still, as in many virtual machines; use another meter")
    return Rapl(fs, tuple(packages.values()))


def _lacks(reason: str) -> Missing:
    return Missing("rapl", reason, there=True)


def _moves(fs: SysFs, path: str, pause: Callable[[float], None]) -> bool:
    first = fs.number(path)
    for _ in range(round(_STILL_S / _LOOK_S)):
        pause(_LOOK_S)
        if (now := fs.number(path)) is not None and now != first:
            return True
    return False
