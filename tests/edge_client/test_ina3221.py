"""The power monitor of a Jetson, in both of NVIDIA's layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.hardware import ina3221
from tests.edge_client.trees import nano, put


def test_jetson_of_jetpack_4_by_its_total_rail(tmp_path: Path) -> None:
    fs = nano(tmp_path)
    meter = ina3221.find(fs)
    assert isinstance(meter, ina3221.Ina3221Iio)
    assert meter.read_power_w() == 2.5  # POM_5V_IN alone: its parts are not added
    assert meter.info.boundary == "board"
    (tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input").unlink()
    assert meter.read_power_w() is None


def test_jetson_of_jetpack_5_by_voltage_times_current(tmp_path: Path) -> None:
    hwmon = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    fs = put(
        tmp_path,
        {
            f"{hwmon}/in1_label": "VDD_CPU_GPU_CV",
            f"{hwmon}/in1_input": 5000,
            f"{hwmon}/curr1_input": 300,
            f"{hwmon}/in2_label": "VDD_IN",
            f"{hwmon}/in2_input": 5000,
            f"{hwmon}/curr2_input": 900,
            f"{hwmon}/in7_label": "sum of shunt voltages",
        },
    )
    meter = ina3221.find(fs)
    assert isinstance(meter, ina3221.Ina3221Hwmon)
    assert meter.read_power_w() == pytest.approx(4.5)
    (tmp_path / hwmon / "curr2_input").write_text("")
    assert meter.read_power_w() is None


def test_no_total_rail_no_meter(tmp_path: Path) -> None:
    fs = put(tmp_path, {"sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_CPU"})
    assert ina3221.find(fs) is None
