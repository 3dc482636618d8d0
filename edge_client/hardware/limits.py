"""What limits the clock now, whatever was asked for: the firmware's bits, the kernel's cooling, the processor's own.

Sources: `vcgencmd get_throttled` of Raspberry Pi's documentation; Documentation/driver-api/thermal/sysfs-api.rst (a
cooling device of type "cpufreq-..." or "thermal-cpufreq-N" holds clocks down while its cur_state is above 0);
Documentation/ABI/testing/sysfs-devices-system-cpu (thermal_throttle counts how often an Intel processor was hot).
"""

from __future__ import annotations

from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.vcgencmd import Vcgencmd
from edge_client.protocol.values import Limit

_COOLERS = ("thermal-cpufreq-", "cpufreq-")
_COUNTS = "sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"


class Limits:
    """One board's limits. What can be asked is found at the first look."""

    def __init__(self, fs: SysFs, firmware: Vcgencmd | None) -> None:
        self._fs = fs
        self._firmware = firmware
        self._coolers: list[str] | None = None
        self._counters: list[str] = []
        self._counts: dict[str, float] = {}

    def read(self) -> frozenset[Limit] | None:
        """What is in force now; counters tell of the time since the last look or `mark`. None where nothing tells."""
        if self._coolers is None:
            self._find()
        told = [part for part in (self._of_firmware(), self._cooling(), self._counted()) if part is not None]
        return frozenset().union(*told) if told else None

    def mark(self) -> None:
        """A window begins: what the counters have counted until now is none of its business."""
        if self._coolers is None:
            self._find()
        self._counted()

    def _find(self) -> None:
        devices = self._fs.glob("sys/class/thermal/cooling_device*")
        self._coolers = [one for one in devices if (self._fs.read(f"{one}/type") or "").startswith(_COOLERS)]
        self._counters = self._fs.glob(_COUNTS)

    def _of_firmware(self) -> frozenset[Limit] | None:
        return self._firmware.limits() if self._firmware else None

    def _cooling(self) -> frozenset[Limit] | None:
        states = [self._fs.number(f"{one}/cur_state") for one in self._coolers or ()]
        known = [state for state in states if state is not None]
        return (frozenset({"cooling"}) if any(known) else frozenset()) if known else None

    def _counted(self) -> frozenset[Limit] | None:
        before = self._counts
        read = {path: self._fs.number(path) for path in self._counters}
        self._counts = {path: count for path, count in read.items() if count is not None}
        if not self._counts:
            return None
        grown = any(count > before[path] for path, count in self._counts.items() if path in before)
        return frozenset({"throttled"}) if grown else frozenset()
