"""Power sensors as files, one class a board type, and the firmware's command-line tools as shell scripts.

A sensor shows the mean power of the last interval (these chips average), with its unit's gain error, noise and
quantisation. Layouts: JetPack 4's ina3221x driver (iio), the kernel's ina2xx driver (hwmon), the Raspberry Pi 5's PMIC
through `vcgencmd pmic_read_adc`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Protocol

from firmware_profiles.schema import Profile, Sensor
from tools.boards.files import LiveFile, Replacer

FIRMWARE = "run/firmware"
"""Under the board's root: what the scripts in bin/ print."""

RAPL_RANGE_J = 262_143.328850
"""Where the counter of many Intel processors falls back to 0."""

_VCGENCMD = """\
#!/bin/sh
# Answers as the Raspberry Pi's firmware does. Shell builtins only: a call costs one small process.
state="${0%/*}/../run/firmware"
show() {
    [ -r "$state/$1" ] || { printf 'error=1 error_msg="Command not registered"\\n'; return; }
    while IFS= read -r line; do printf '%s\\n' "$line"; done < "$state/$1"
}
case "$*" in
"measure_clock arm") show measure_clock_arm ;;
measure_temp | get_throttled | pmic_read_adc) show "$1" ;;
*) printf 'error=1 error_msg="Command not registered"\\n' ;;
esac
"""

IW = """\
#!/bin/sh
# Answers as iw does on a brcmfmac radio: a power is clamped at 31.75 dBm, read back as written, and changes nothing.
state="${0%/*}/../run/firmware/txpower_mbm"
fail() { printf '%s\\n' "$1" >&2; exit "$2"; }
[ "$1" = dev ] && [ "$2" = wlan0 ] || fail "command failed: No such device (-19)" 237
case "$3 $4" in
"info "*)
    read -r mbm < "$state"
    printf 'Interface wlan0\\n\\ttype managed\\n\\ttxpower %d.%02d dBm\\n' $((mbm / 100)) $((mbm % 100)) ;;
"set txpower")
    case "$5" in
    auto) mbm=3100 ;;
    fixed | limit)
        case "$6" in "" | *[!0-9]*) fail "command failed: Invalid argument (-22)" 234 ;; esac
        mbm=$6
        [ "$mbm" -le 3175 ] || mbm=3175 ;;
    *) fail "command failed: Invalid argument (-22)" 234 ;;
    esac
    printf '%s\\n' "$mbm" > "$state" ;;
*) fail "Usage: iw dev wlan0 {info | set txpower <auto|fixed|limit> [<mBm>]}" 1 ;;
esac
"""


class PowerSensor(Protocol):
    """Shows watts in files."""

    files: list[LiveFile]

    def show(self, power_w: float, volts: float, dt_s: float) -> None:
        """The board drew `power_w` on average in the `dt_s` since the last call; its core stands at `volts`."""


class Readout:
    """True watts to what a chip makes of them."""

    def __init__(self, sensor: Sensor, rng: random.Random) -> None:
        error = sensor.gain_error.value
        self.gain = 1.0 + min(max(rng.gauss(0.0, error), -2 * error), 2 * error)
        self._noise_w = sensor.noise_w.value
        self._step_w = sensor.step_w.value
        self._rng = rng

    def read(self, power_w: float) -> float:
        """Watts as read: gain, noise, steps; never below zero."""
        noisy = power_w * self.gain + self._rng.gauss(0.0, self._noise_w)
        return max(round(noisy / self._step_w) * self._step_w, 0.0)


class Ina3221:
    """Jetson Nano, JetPack 4: three rails, of which POM_5V_IN is the whole board. mV, mA, mW."""

    def __init__(self, root: Path, replacer: Replacer, readout: Readout) -> None:
        folder = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
        folder.mkdir(parents=True, exist_ok=True)
        self._readout = readout
        self.files = [replacer.live(folder / f"in_{what}{n}_input") for n in range(3) for what in ("current", "power")]
        for n, rail in enumerate(("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU")):
            replacer.write(folder / f"rail_name_{n}", f"{rail}\n")
            replacer.write(folder / f"in_voltage{n}_input", "5000\n")
        self._write(1, 0.04)

    def show(self, power_w: float, volts: float, dt_s: float) -> None:  # noqa: ARG002
        total_w = self._readout.read(power_w)
        self._write(0, total_w)
        self._write(2, 0.6 * total_w)  # the CPU's own rail; a share only, nobody sums it with the total

    def _write(self, rail: int, power_w: float) -> None:
        milliamps = round(power_w / 5.0 * 1000)
        self.files[2 * rail].write(f"{milliamps}\n")
        self.files[2 * rail + 1].write(f"{milliamps * 5}\n")


class Ina3221Hwmon:
    """Jetson Orin, JetPack 5 and later: the kernel's own driver, mV and mA; VDD_IN is the whole board."""

    _RAILS = (("VDD_IN", 1.0), ("VDD_CPU_GPU_CV", 0.45), ("VDD_SOC", 0.25))

    def __init__(self, root: Path, replacer: Replacer, readout: Readout) -> None:
        folder = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
        folder.mkdir(parents=True, exist_ok=True)
        self._readout = readout
        self.files = [replacer.live(folder / f"curr{n}_input") for n in (1, 2, 3)]
        replacer.write(folder / "name", "ina3221\n")
        for n, (label, _) in enumerate(self._RAILS, start=1):
            replacer.write(folder / f"in{n}_label", f"{label}\n")
            replacer.write(folder / f"in{n}_input", "5000\n")
            replacer.write(folder / f"in{n}_enable", "1\n")

    def show(self, power_w: float, volts: float, dt_s: float) -> None:  # noqa: ARG002
        read_w = self._readout.read(power_w)
        for file, (_, share) in zip(self.files, self._RAILS, strict=True):
            file.write(f"{round(share * read_w / 5.0 * 1000)}\n")


class Rapl:
    """RAPL of one package: a counter of microjoules that falls back to 0; what it misses is the boundary."""

    def __init__(
        self, root: Path, replacer: Replacer, readout: Readout, slope: float, boundary_w: float, range_j: float
    ) -> None:
        folder = root / "sys/class/powercap/intel-rapl:0"
        folder.mkdir(parents=True, exist_ok=True)
        self._readout, self._slope, self._boundary_w = readout, slope, boundary_w
        self._range_uj = round(range_j * 1e6)
        self._energy_uj = 0.0
        self.files = [replacer.live(folder / "energy_uj")]
        replacer.write(folder / "name", "package-0\n")
        replacer.write(folder / "max_energy_range_uj", f"{self._range_uj}\n")

    def show(self, power_w: float, volts: float, dt_s: float) -> None:  # noqa: ARG002
        package_w = max((self._readout.read(power_w) - self._boundary_w) / self._slope, 0.0)
        self._energy_uj = (self._energy_uj + package_w * dt_s * 1e6) % self._range_uj
        self.files[0].write(f"{int(self._energy_uj)}\n")


class Ina219:
    """An INA219 breakout between supply and board, as hwmon: uW, mV, mA."""

    def __init__(self, root: Path, replacer: Replacer, readout: Readout) -> None:
        folder = root / "sys/class/hwmon/hwmon1"
        folder.mkdir(parents=True, exist_ok=True)
        self._readout = readout
        self.files = [replacer.live(folder / "power1_input"), replacer.live(folder / "curr1_input")]
        replacer.write(folder / "name", "ina219\n")
        replacer.write(folder / "in1_input", "5100\n")

    def show(self, power_w: float, volts: float, dt_s: float) -> None:  # noqa: ARG002
        read_w = self._readout.read(power_w)
        self.files[0].write(f"{round(read_w * 1e6)}\n")
        self.files[1].write(f"{round(read_w / 5.1 * 1000)}\n")


class Pmic:
    """Raspberry Pi 5: twelve rails; what they miss of the board is the sensor's boundary."""

    # rail, its volts, its amperes (None: takes what is left of the power), ADC numbers of both
    _RAILS = (
        ("3V7_WL_SW", 3.70, 0.004, 0, 8), ("3V3_SYS", 3.31, 0.062, 1, 9), ("1V8_SYS", 1.80, 0.180, 2, 10),
        ("DDR_VDD2", 1.11, 0.014, 3, 11), ("DDR_VDDQ", 0.61, 0.010, 4, 12), ("1V1_SYS", 1.11, 0.200, 5, 13),
        ("0V8_SW", 0.81, 0.340, 6, 14), ("VDD_CORE", None, None, 7, 15), ("3V3_DAC", 3.31, 0.0002, 17, 20),
        ("3V3_ADC", 3.31, 0.0006, 18, 21), ("0V8_AON", 0.80, 0.004, 16, 19), ("HDMI", 5.10, 0.010, 22, 23),
    )  # fmt: skip

    def __init__(self, root: Path, replacer: Replacer, readout: Readout, slope: float, boundary_w: float) -> None:
        self._readout, self._slope, self._boundary_w = readout, slope, boundary_w
        self.files = [replacer.live(root / FIRMWARE / "pmic_read_adc")]
        lines = [f"{name + '_A':>15} current({a})={'%(amps).8f' if amps is None else f'{amps:.8f}'}A\n"
                 for name, _, amps, a, _ in self._RAILS]  # fmt: skip
        lines += [f"{name + '_V':>15} volt({v})={'%(volts).8f' if volts is None else f'{volts:.8f}'}V\n"
                  for name, volts, _, _, v in self._RAILS]  # fmt: skip
        lines += ["         EXT5V_V volt(24)=5.10000000V\n", "         BATT_V volt(25)=0.00000000V\n"]
        self._text = "".join(lines)
        self._other_w = sum(volts * amps for _, volts, amps, _, _ in self._RAILS if volts and amps)

    def show(self, power_w: float, volts: float, dt_s: float) -> None:  # noqa: ARG002
        rails_w = (self._readout.read(power_w) - self._boundary_w) / self._slope
        amps = max(rails_w - self._other_w, 0.0) / volts
        self.files[0].write(self._text % {"amps": amps, "volts": volts})


def make_sensor(
    profile: Profile, root: Path, replacer: Replacer, readout: Readout, range_j: float | None = None
) -> PowerSensor:
    """The board type's own sensor; a counter falls back to 0 at `range_j` (left out: at what processors have)."""
    sensor = profile.sensor
    slope = sensor.boundary_slope.value if sensor.boundary_slope else 1.0
    boundary_w = sensor.boundary_w.value if sensor.boundary_w else 0.0
    match sensor.kind:
        case "ina3221-jetpack4":
            return Ina3221(root, replacer, readout)
        case "ina3221-hwmon":
            return Ina3221Hwmon(root, replacer, readout)
        case "ina219-hwmon":
            return Ina219(root, replacer, readout)
        case "rapl":
            return Rapl(root, replacer, readout, slope, boundary_w, range_j or RAPL_RANGE_J)
        case "pmic-vcgencmd":
            return Pmic(root, replacer, readout, slope, boundary_w)


def install_tools(profile: Profile, root: Path, replacer: Replacer) -> None:
    """bin/vcgencmd on Raspberry Pis, bin/iw where there is Wi-Fi."""
    (root / "bin").mkdir(parents=True, exist_ok=True)
    firmware = root / FIRMWARE
    firmware.mkdir(parents=True, exist_ok=True)
    if profile.name.startswith("raspberry-pi"):
        replacer.write(root / "bin/vcgencmd", _VCGENCMD, 0o755)
        replacer.write(firmware / "get_throttled", "throttled=0x0\n")
    if profile.link.kind == "wifi":
        replacer.write(root / "bin/iw", IW, 0o755)
        replacer.write(firmware / "txpower_mbm", "3100\n", 0o644)
