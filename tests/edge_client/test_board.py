"""What a whole board is, by the files it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.hardware import ina2xx, pmic
from edge_client.hardware.board import discover
from edge_client.hardware.sysfs import SysFs
from tests.edge_client import captured
from tests.edge_client.trees import NANO_KHZ, nano, put, settings


def test_a_jetson_nano_is_recognised(tmp_path: Path) -> None:
    board = discover(nano(tmp_path), settings(tmp_path))
    can = board.capabilities(("torch",))
    assert can.board == "NVIDIA Jetson Nano Developer Kit"
    assert can.opps_hz == tuple(khz * 1e3 for khz in NANO_KHZ)
    assert (can.meter, can.meter_source, can.boundary) == ("ina3221", "measured", "board")
    assert (can.tx_power, can.cores, can.runtimes) == ("unsupported", 4, ("torch",))
    assert board.temperature_c() == 41.5
    assert board.waited_us() == 1000
    assert board.limits.read() is None


def test_a_pi_5_uses_its_pmic_and_an_added_sensor_goes_before_it(tmp_path: Path) -> None:
    fs = captured.board("raspberry-pi-5", tmp_path)
    board = discover(fs, settings(tmp_path))
    assert isinstance(board.meter, pmic.Pmic)
    assert board.limits.read() == frozenset()
    put(tmp_path, {"sys/class/hwmon/hwmon9/name": "ina226", "sys/class/hwmon/hwmon9/power1_input": 5_000_000})
    assert isinstance(discover(fs, settings(tmp_path)).meter, ina2xx.Ina2xx)


@pytest.mark.parametrize(
    ("tree", "meter", "source", "boundary"),
    [
        ("jetson-nano", "ina3221", "measured", "board"),
        ("jetson-orin-nano", "ina3221", "measured", "board"),
        ("jetson-agx-orin", "none", "unavailable", None),
        ("raspberry-pi-4b", "ina219", "measured", "board"),
        ("raspberry-pi-5", "pi5-pmic", "measured", "board"),
        ("x86-rapl", "none", "unavailable", None),  # energy_uj is for root only
    ],
)
def test_what_each_captured_board_is_measured_with(
    tmp_path: Path, tree: str, meter: str, source: str, boundary: str | None
) -> None:
    board = discover(captured.board(tree, tmp_path), settings(tmp_path))
    can = board.capabilities(())
    assert (can.meter, can.meter_source, can.boundary) == (meter, source, boundary)
    assert bool(board.no_meter) == (board.meter is None)


def test_why_there_is_no_meter_is_kept_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board = discover(captured.board("x86-rapl", tmp_path), settings(tmp_path))
    assert "intel-rapl:0/energy_uj: Permission denied; let this user read it" in board.no_meter
    assert "intel-rapl:0/energy_uj: Permission denied; let this user read it" in caplog.text


def test_a_board_without_anything(tmp_path: Path) -> None:
    board = discover(SysFs(tmp_path), settings(tmp_path))
    can = board.capabilities(())
    assert (can.meter, can.meter_source, can.boundary, can.opps_hz) == ("none", "unavailable", None, ())
    assert can.cores >= 1
    assert board.temperature_c() is None
