"""Watts from a profile: by hand, off unless one fits, and never called measured."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_client.hardware import modelled
from edge_client.hardware.modelled import Modelled, busy_and_all, fitting, model_w
from edge_client.hardware.sampler import Sampler
from firmware_profiles.loader import load_profile
from firmware_profiles.schema import Profile
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
