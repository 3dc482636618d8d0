"""What a client reads on each board, down to the layout."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from firmware_profiles.loader import load_profile
from firmware_profiles.schema import Number, Sensor
from tools.boards.files import LiveFile, Replacer
from tools.boards.sensors import FIRMWARE, PowerSensor, Readout, install_tools, make_sensor


def exact(step_w: float) -> Readout:
    def number(value: float) -> Number:
        return Number(value=value, provenance="assumed", source="test")

    sensor = Sensor(kind="ina219-hwmon", gain_error=number(0.0), noise_w=number(0.0), step_w=number(step_w))
    return Readout(sensor, random.Random(0))


def make(name: str, tmp_path: Path, step_w: float = 1e-6) -> tuple[PowerSensor, Path]:
    replacer, root = Replacer(tmp_path / "scratch"), tmp_path / "root"
    root.mkdir()
    profile = load_profile(name)
    install_tools(profile, root, replacer)
    return make_sensor(profile, root, replacer, exact(step_w)), root


def run(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "bin" / command.split(maxsplit=1)[0]), *command.split()[1:]], capture_output=True, text=True
    )


def close(sensor: PowerSensor) -> None:
    for file in sensor.files:
        file.close()


def test_jetson_nano(tmp_path: Path) -> None:
    sensor, root = make("jetson-nano", tmp_path)
    sensor.show(5.0, 1.0, 0.05)
    folder = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    assert (folder / "rail_name_0").read_text() == "POM_5V_IN\n"
    reading = {name: int((folder / f"in_{name}0_input").read_text()) for name in ("voltage", "current", "power")}
    assert reading == {"voltage": 5000, "current": 1000, "power": 5000}
    rails = [int((folder / f"in_power{n}_input").read_text()) for n in range(3)]
    assert rails[0] > max(rails[1:])
    assert not (root / "bin/vcgencmd").exists()
    assert not (root / "bin/iw").exists()
    close(sensor)


def test_raspberry_pi_4b(tmp_path: Path) -> None:
    sensor, root = make("raspberry-pi-4b", tmp_path)
    sensor.show(5.1, 0.9, 0.05)
    folder = root / "sys/class/hwmon/hwmon1"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "name": "ina219\n",
        "power1_input": "5100000\n",
        "in1_input": "5100\n",
        "curr1_input": "1000\n",
    }
    assert run(root, "vcgencmd pmic_read_adc").stdout == 'error=1 error_msg="Command not registered"\n'
    assert run(root, "vcgencmd get_throttled").stdout == "throttled=0x0\n"
    close(sensor)


def test_raspberry_pi_5_s_rails_add_up_to_the_board(tmp_path: Path) -> None:
    sensor, root = make("raspberry-pi-5", tmp_path)
    sensor.show(6.2, 0.8, 0.05)
    text = run(root, "vcgencmd pmic_read_adc").stdout
    amps = dict(re.findall(r"(\w+)_A current\(\d+\)=([\d.]+)A", text))
    volts = dict(re.findall(r"(\w+)_V volt\(\d+\)=([\d.]+)V", text))
    assert len(amps) == 12
    rails_w = sum(float(current) * float(volts[rail]) for rail, current in amps.items())
    assert 1.145 * rails_w + 0.588 == pytest.approx(6.2, abs=1e-3)
    assert float(volts["VDD_CORE"]) == 0.8
    close(sensor)


def test_vcgencmd_prints_what_the_board_put_there(tmp_path: Path) -> None:
    sensor, root = make("raspberry-pi-5", tmp_path)
    assert "error" in run(root, "vcgencmd measure_clock arm").stdout
    (root / FIRMWARE / "measure_clock_arm").write_text("frequency(0)=1500000000\n")
    assert run(root, "vcgencmd measure_clock arm").stdout == "frequency(0)=1500000000\n"
    assert "error" in run(root, "vcgencmd otp_dump").stdout
    close(sensor)


def test_iw_takes_clamps_and_reads_back(tmp_path: Path) -> None:
    sensor, root = make("raspberry-pi-4b", tmp_path)
    assert "\ttxpower 31.00 dBm\n" in run(root, "iw dev wlan0 info").stdout
    assert run(root, "iw dev wlan0 set txpower fixed 1505").returncode == 0
    assert "txpower 15.05 dBm" in run(root, "iw dev wlan0 info").stdout
    run(root, "iw dev wlan0 set txpower fixed 9999")
    assert "txpower 31.75 dBm" in run(root, "iw dev wlan0 info").stdout
    run(root, "iw dev wlan0 set txpower auto")
    assert "txpower 31.00 dBm" in run(root, "iw dev wlan0 info").stdout
    assert run(root, "iw dev wlan0 set txpower fixed loud").returncode != 0
    assert run(root, "iw dev wlan7 info").returncode != 0
    close(sensor)


def test_readout_steps_noise_and_gain() -> None:
    assert exact(0.04).read(1.03) == pytest.approx(1.04)
    assert exact(0.04).read(0.0) == 0.0
    nano = load_profile("jetson-nano").sensor
    readout = Readout(nano, random.Random(3))
    assert 0.98 <= readout.gain <= 1.02
    mean = sum(readout.read(5.0) for _ in range(2000)) / 2000
    assert mean == pytest.approx(5.0 * readout.gain, abs=0.005)


def test_live_file_shows_old_or_new_and_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "value"
    live = LiveFile(path, tmp_path / "spare")
    for text in ("1\n", "22222\n", "333\n", "4\n", ""):
        live.write(text)
        assert path.read_text() == text
    live.close()
