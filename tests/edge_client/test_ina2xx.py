"""An INA219 or INA226 that somebody has added."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.hardware import ina2xx
from tests.edge_client.trees import put


def test_an_added_ina219(tmp_path: Path) -> None:
    fs = put(
        tmp_path,
        {
            "sys/class/hwmon/hwmon0/name": "cpu_thermal",
            "sys/class/hwmon/hwmon1/name": "ina219",
            "sys/class/hwmon/hwmon1/power1_input": 3_140_000,
            "sys/class/hwmon/hwmon1/in1_input": 5000,
            "sys/class/hwmon/hwmon1/curr1_input": 600,
        },
    )
    meter = ina2xx.find(fs)
    assert meter is not None
    assert meter.info.name == "ina219"
    assert meter.read_power_w() == 3.14
    (tmp_path / "sys/class/hwmon/hwmon1/power1_input").unlink()
    assert meter.read_power_w() == pytest.approx(3.0)
    (tmp_path / "sys/class/hwmon/hwmon1/in1_input").unlink()
    assert meter.read_power_w() is None
    assert ina2xx.find(put(tmp_path / "other", {"sys/class/hwmon/hwmon0/name": "cpu_thermal"})) is None
