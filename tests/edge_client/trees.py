"""Trees of kernel files as boards have them, below a temporary root."""

from __future__ import annotations

from pathlib import Path

from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
NANO_KHZ = (102000, 204000, 403200, 710400, 921600, 1224000, 1479000)


def put(root: Path, files: dict[str, object]) -> SysFs:
    """Write the files; a path below bin/ becomes a command (its text is a shell script)."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        if name.startswith("bin/"):
            path.chmod(0o755)
    return SysFs(root)


def cpufreq(khz: tuple[int, ...] = NANO_KHZ, governor: str = "schedutil", policy: str = POLICY) -> dict[str, object]:
    """A policy with `userspace` whose clock reads back as the highest point."""
    return {
        f"{policy}/affected_cpus": "0 1 2 3",
        f"{policy}/scaling_available_frequencies": " ".join(map(str, khz)),
        f"{policy}/scaling_available_governors": "userspace performance schedutil",
        f"{policy}/scaling_governor": governor,
        f"{policy}/scaling_setspeed": "<unsupported>",
        f"{policy}/scaling_min_freq": khz[0],
        f"{policy}/scaling_max_freq": khz[-1],
        f"{policy}/scaling_cur_freq": khz[-1],
        f"{policy}/cpuinfo_cur_freq": khz[-1],
    }


def nano(root: Path) -> SysFs:
    """A Jetson Nano under JetPack 4: 2.5 W on its total rail."""
    iio = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    return put(
        root,
        {
            **cpufreq(),
            "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
            "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000",
            "sys/class/thermal/thermal_zone0/temp": "41500",
            f"{iio}/rail_name_0": "POM_5V_GPU",
            f"{iio}/rail_name_1": "POM_5V_IN",
            f"{iio}/rail_name_2": "POM_5V_CPU",
            f"{iio}/in_power0_input": "40",
            f"{iio}/in_power1_input": "2500",
            f"{iio}/in_power2_input": "900",
        },
    )


def settings(root: Path) -> SettingsFile:
    return SettingsFile(root / "run/fimi/settings.json")
