"""What a whole board is, by the files it has."""

from __future__ import annotations

from pathlib import Path

from edge_client.hardware import ina2xx, pmic
from edge_client.hardware.board import discover
from edge_client.hardware.sysfs import SysFs
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
    assert board.throttled() is None


def test_a_pi_5_uses_its_pmic_and_an_added_sensor_goes_before_it(tmp_path: Path) -> None:
    pi5 = {
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "bin/vcgencmd": "#!/bin/sh\necho throttled=0x4",
    }
    fs = put(tmp_path, pi5)
    board = discover(fs, settings(tmp_path))
    assert isinstance(board.meter, pmic.Pmic)
    assert board.throttled() is True
    put(tmp_path, {"sys/class/hwmon/hwmon1/name": "ina226"})
    assert isinstance(discover(fs, settings(tmp_path)).meter, ina2xx.Ina2xx)


def test_a_board_without_anything(tmp_path: Path) -> None:
    board = discover(SysFs(tmp_path), settings(tmp_path))
    can = board.capabilities(())
    assert (can.meter, can.meter_source, can.boundary, can.opps_hz) == ("none", "unavailable", None, ())
    assert can.cores >= 1
    assert board.temperature_c() is None
