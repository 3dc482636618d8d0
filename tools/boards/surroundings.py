"""What a board shows of heat, supply and load: the firmware's bits, the kernel's cooling device, a battery, its ticks.

Sources: `vcgencmd get_throttled`; Documentation/driver-api/thermal/sysfs-api.rst; Documentation/ABI/testing/
sysfs-class-power (micro units); proc(5), /proc/stat in hundredths of a second.
"""

from __future__ import annotations

from pathlib import Path

from firmware_profiles.schema import Profile
from tools.boards.faults import Battery, Strain
from tools.boards.files import Replacer
from tools.boards.sensors import FIRMWARE

_COOLER = "sys/class/thermal/cooling_device0"
_BATTERY = "sys/class/power_supply/BAT0"
_VOLTS = 7.4


class Surroundings:
    """One board's files."""

    def __init__(self, profile: Profile, root: Path, replacer: Replacer) -> None:
        self._pi = profile.name.startswith("raspberry-pi")
        self._root = root
        self._replacer = replacer
        if not self._pi:
            self._write(f"{_COOLER}/type", "thermal-cpufreq-0")
        self.show_limits(Strain())
        (root / "proc").mkdir(parents=True, exist_ok=True)
        self._stat = replacer.live(root / "proc/stat")
        self.show_load(0.0, 0.0)

    def close(self) -> None:
        """The files stay as they are."""
        self._stat.close()

    def show_load(self, busy_s: float, idle_s: float) -> None:
        """Seconds since the start in which the board worked and did not, as those of one processor: the law knows the
        whole board only."""
        ticks = f"{busy_s * 100:.0f} 0 0 {idle_s * 100:.0f} 0 0 0 0 0 0"
        self._stat.write(f"cpu  {ticks}\ncpu0 {ticks}\n")

    def show_limits(self, strain: Strain) -> None:
        """What holds the clock down now."""
        if self._pi:
            self._write(f"{FIRMWARE}/get_throttled", f"throttled={strain.bits:#x}")
        else:
            self._write(f"{_COOLER}/cur_state", str(strain.steps))

    def show_signal(self, signal_dbm: float) -> None:
        """What the access point sees of the board; on a real site it is asked over the network."""
        self._write(f"{FIRMWARE}/ap_signal_dbm", f"{signal_dbm:.1f}")

    def show_battery(self, held: Battery) -> None:
        """As the kernel shows a battery."""
        full = held.left_j >= held.full_j
        files = {
            "type": "Battery",
            "scope": "System",
            "status": "Full" if full and held.charging else "Charging" if held.charging else "Discharging",
            "capacity": str(held.percent),
            "energy_full": str(round(held.full_j / 3600 * 1e6)),
            "energy_now": str(round(held.left_j / 3600 * 1e6)),
            "voltage_now": str(round(_VOLTS * 1e6)),
        }
        for name, text in files.items():
            self._write(f"{_BATTERY}/{name}", text)

    def _write(self, path: str, text: str) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        self._replacer.write(file, text + "\n")
