"""Watts from a profile: by hand, off unless one fits, and never called measured."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from edge_client.hardware import meters, modelled
from edge_client.hardware.meters import Wanted
from edge_client.hardware.modelled import Modelled, busy_and_all, calibrated_w, fitting, model_w
from edge_client.hardware.sampler import Sampler
from firmware_profiles.loader import load_profile
from firmware_profiles.schema import Profile
from tests.calibrations import calibration
from tests.edge_client.captured import CapturedFs, board, reason, set_file

PI = "Raspberry Pi 4 Model B Rev 1.4"
CLOCK = "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq"


def model(tmp_path: Path) -> tuple[CapturedFs, Modelled]:
    fs = board("raspberry-pi-4b", tmp_path)
    found = modelled.find(fs, PI)
    assert isinstance(found, Modelled)
    return fs, found


def stat(busy: int, idle: int) -> str:
    """proc/stat: busy ticks half in user and half in system, idle ones half of them waiting for I/O."""
    return f"cpu  {busy // 2} 0 {busy // 2} {idle // 2} {idle // 2} 0 0 0 7 7\ncpu0 1 2 3 4 5 6 7 8 9 10"


def test_ticks_by_hand() -> None:
    # user 10 nice 1 system 5 | idle 70 iowait 9 | irq 2 softirq 2 steal 1; guest is part of user
    assert busy_and_all("cpu  10 1 5 70 9 2 2 1 4 0\n") == (21, 100)
    assert busy_and_all("intr 1 2 3") is None
    assert busy_and_all("cpu 1 2 3") is None


def test_watts_by_hand() -> None:
    # 2.7 W idle, 6.4 W full at 1500 MHz and 0.896 V; at 600 MHz 0.8375 V: V^2 f falls to 0.8737 * 0.4
    profile = load_profile("raspberry-pi-4b")
    assert model_w(profile, 0.0, 1.5e9) == 2.7
    assert model_w(profile, 1.0, 1.5e9) == pytest.approx(6.4)
    assert model_w(profile, 0.5, 1.5e9) == pytest.approx(4.55)
    assert model_w(profile, 1.0, 0.6e9) == pytest.approx(2.7 + 3.7 * (0.8375 / 0.896) ** 2 * 0.4)
    assert model_w(profile, 1.0, 1.05e9) == pytest.approx(2.7 + 3.7 * (0.84125 / 0.896) ** 2 * 0.7)
    assert model_w(profile, 1.0, 3e9) == pytest.approx(2.7 + 3.7 * 2)


def test_watts_of_a_calibrated_board_by_hand() -> None:
    """2 W idle and 3 W + (f/GHz)^3 W on the one core that it was calibrated on: at 1.5 GHz 6.375, at 0.5 GHz 3.125."""
    own = calibration()
    assert calibrated_w(own, 0.0, 1.5e9) == pytest.approx(2.0)
    assert calibrated_w(own, 1.0, 1.5e9) == pytest.approx(6.375)
    assert calibrated_w(own, 0.5, 1.5e9) == pytest.approx(2 + 4.375 / 2)
    assert calibrated_w(own, 2.0, 0.5e9) == pytest.approx(2 + 2 * 1.125)
    assert calibrated_w(own, 1.0, 0.1e9) == calibrated_w(own, 1.0, 0.5e9)  # it knows nothing below


def test_a_calibrated_board_is_modelled_by_it(tmp_path: Path) -> None:
    """Two processors, of which a half is busy: one core's work, in whose boundary and name it speaks."""
    fs = board("raspberry-pi-4b", tmp_path)
    found = meters.find(fs, PI, None, Wanted("modelled", profile="raspberry-pi-5", calibration=calibration())).meter
    assert isinstance(found, Modelled)
    assert (found.info.name, found.info.source, found.info.boundary) == ("calibration", "modelled", "board")
    assert found.info.uncertainty == pytest.approx(0.1, abs=1e-6)
    set_file(fs, CLOCK, 1300000)
    two = "\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 1 2 3 4 5 6 7 8 9 10\nintr 5"
    for ticks in (1000, 1100):
        set_file(fs, "proc/stat", stat(ticks, ticks).partition("\n")[0] + two)
        seen = found.read_power_w()
    assert seen == pytest.approx(3 + 1.3**3)
    set_file(fs, "proc/stat", None)
    assert reason(modelled.find(fs, PI, None, calibration())).startswith("load and clock cannot be read")


def test_a_calibration_that_tells_too_little_is_no_model(tmp_path: Path) -> None:
    fs, own = board("raspberry-pi-4b", tmp_path), calibration()
    nowhere = msgspec.structs.replace(own, origin=msgspec.structs.replace(own.origin, boundary=None))
    for one, lacking in (
        (msgspec.structs.replace(own, idle=None), "idle floor"),
        (msgspec.structs.replace(own, cores=None), "number of cores"),
        (nowhere, "boundary"),
    ):
        said = f"its calibration does not tell the {lacking}; fit it again with one"
        assert reason(modelled.find(fs, PI, None, one)) == said


def test_load_is_that_since_the_last_look(tmp_path: Path) -> None:
    fs, meter = model(tmp_path)
    set_file(fs, CLOCK, 1500000)
    set_file(fs, "proc/stat", stat(1000, 1000))
    assert meter.read_power_w() is None  # since when?
    set_file(fs, "proc/stat", stat(1100, 1100))
    assert meter.read_power_w() == pytest.approx(4.55)
    assert meter.read_power_w() is None  # no tick has passed
    set_file(fs, "proc/stat", stat(1300, 1100))
    assert meter.read_power_w() == pytest.approx(6.4)


@pytest.mark.parametrize("path", [CLOCK, "proc/stat"])
@pytest.mark.parametrize("value", [None, "", "?", OSError(errno.EACCES, "")])
def test_without_load_or_clock_nothing_is_modelled(tmp_path: Path, path: str, value: object) -> None:
    fs, meter = model(tmp_path)
    set_file(fs, "proc/stat", stat(1000, 1000))
    meter.read_power_w()
    set_file(fs, "proc/stat", stat(1100, 1100))
    set_file(fs, path, value)
    assert meter.read_power_w() is None


def test_it_says_that_it_is_a_model(tmp_path: Path) -> None:
    _, meter = model(tmp_path)
    assert (meter.info.source, meter.info.uncertainty, meter.info.boundary) == ("modelled", 0.3, "board")
    sampler = Sampler(meter, 0.1)
    assert sampler.period_s == 0.5
    sampler._track.add(0.0, 3.0)
    sampler._track.add(1.0, 3.0)
    found = sampler.energy(0.0, 1.0, None)
    assert (found.source, found.energy_j) == ("modelled", 3.0)
    assert found.uncertainty is not None
    assert found.uncertainty >= 0.3


def test_it_is_off_unless_a_profile_fits_the_board(tmp_path: Path) -> None:
    fs = board("raspberry-pi-4b", tmp_path)
    assert reason(modelled.find(fs, "x86_64")) == (
        "no shipped profile is of a x86_64; name one by `meter_profile` in client.toml"
    )
    named = modelled.find(fs, "x86_64", "raspberry-pi-4b")
    assert isinstance(named, Modelled)
    assert isinstance(named.source, Profile)
    assert named.source.name == "raspberry-pi-4b"
    nano = fitting("NVIDIA Jetson Nano Developer Kit")
    assert nano is not None
    assert nano.name == "jetson-nano"
    assert fitting("Raspberry Pi 4 Model B") is not None
    assert fitting("Raspberry Pi 400 Rev 1.0") is None
    set_file(fs, "proc/stat", OSError(errno.EACCES, ""))
    assert "/proc/stat and cpufreq's scaling_cur_freq are needed" in reason(modelled.find(fs, PI))
