"""The power monitor of a Jetson, in both of NVIDIA's layouts: units, labels that lie, channels that are off."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest

from edge_client.hardware import ina3221
from edge_client.hardware.ina3221 import Ina3221
from tests.edge_client.captured import board, reason, set_file
from tests.edge_client.trees import nano, put

IIO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
HWMON = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
DENIED = OSError(errno.EACCES, "")


def meter(found: object) -> Ina3221:
    assert isinstance(found, Ina3221), found
    return found


def test_jetpack_4_gives_the_total_rail_alone_in_milliwatts(tmp_path: Path) -> None:
    found = meter(ina3221.find(board("jetson-nano", tmp_path)))
    assert found.read_power_w() == 2.292  # POM_5V_IN: 5072 mV * 452 mA; GPU and CPU are parts of it
    assert (found.info.name, found.info.boundary, found.info.source) == ("ina3221", "board", "measured")
    assert meter(ina3221.find(nano(tmp_path / "other"))).read_power_w() == 2.5


def test_jetpack_5_and_later_gives_millivolts_times_milliamperes(tmp_path: Path) -> None:
    found = meter(ina3221.find(board("jetson-orin-nano", tmp_path)))
    assert found.read_power_w() == pytest.approx(5.032 * 0.928)  # not 4669.7 W, and not the sum with its parts


def test_where_iio_does_not_multiply_we_do(tmp_path: Path) -> None:
    fs = board("jetson-nano", tmp_path, {f"{IIO}/in_power0_input": None})
    assert meter(ina3221.find(fs)).read_power_w() == pytest.approx(5.072 * 0.452)


@pytest.mark.parametrize("path", [f"{HWMON}/in1_input", f"{HWMON}/curr1_input"])
@pytest.mark.parametrize("value", [None, DENIED, OSError(errno.EIO, ""), "", "NaN", "0", "-928"])
def test_what_cannot_be_read_is_none_not_zero(tmp_path: Path, path: str, value: object) -> None:
    fs = board("jetson-orin-nano", tmp_path)
    found = meter(ina3221.find(fs))
    set_file(fs, path, value)
    assert found.read_power_w() is None


def test_a_current_at_the_end_of_the_range_may_be_more(tmp_path: Path) -> None:
    # 163.8 mV over 5 mOhm: 32.76 A
    fs = board("jetson-orin-nano", tmp_path)
    found = meter(ina3221.find(fs))
    set_file(fs, f"{HWMON}/curr1_input", 32752)
    assert found.read_power_w() == pytest.approx(5.032 * 32.752)
    set_file(fs, f"{HWMON}/curr1_input", 32760)
    assert found.read_power_w() is None


@pytest.mark.parametrize(
    ("tree", "path"), [("jetson-orin-nano", f"{HWMON}/curr1_input"), ("jetson-nano", f"{IIO}/in_power0_input")]
)
def test_without_rights_it_is_unavailable_and_says_why(tmp_path: Path, tree: str, path: str) -> None:
    other = {f"{IIO}/in_voltage0_input": None} if tree == "jetson-nano" else {}
    fs = board(tree, tmp_path, {path: DENIED, **other})
    assert reason(ina3221.find(fs)) == f"/{path}: Permission denied; check the driver and this user's rights"


def test_a_channel_that_is_off_says_how_to_turn_it_on(tmp_path: Path) -> None:
    off = {f"{HWMON}/in1_enable": 0, f"{HWMON}/in1_input": OSError(errno.ENODATA, "")}
    assert reason(ina3221.find(board("jetson-orin-nano", tmp_path, off))) == (
        f"the channel of VDD_IN is off; echo 1 | sudo tee /{HWMON}/in1_enable"
    )


def test_a_board_whose_rails_have_no_total_is_not_measured_by_their_sum(tmp_path: Path) -> None:
    assert reason(ina3221.find(board("jetson-agx-orin", tmp_path))) == (
        "of its rails VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0, VDDQ_VDD2_1V8AO none is called "
        "VDD_IN or POM_5V_IN or 5V_IN or SYS_IN; use jtop or a smart plug"
    )
    fs = put(tmp_path / "part", {f"{IIO}/rail_name_0": "POM_5V_CPU"})
    assert "none is called" in reason(ina3221.find(fs))
    assert "only NVIDIA's boards" in reason(ina3221.find(board("raspberry-pi-5", tmp_path / "pi")))


def test_two_totals_are_none(tmp_path: Path) -> None:
    fs = board("jetson-orin-nano", tmp_path, {f"{HWMON}/in3_label": "VDD_IN"})
    assert "more than one is called" in reason(ina3221.find(fs))


def test_the_sum_of_shunt_voltages_is_no_rail(tmp_path: Path) -> None:
    fs = board("jetson-orin-nano", tmp_path, {f"{HWMON}/in7_label": "VDD_IN", f"{HWMON}/in1_label": "VDD_MOD"})
    assert "VDD_MOD, VDD_CPU_GPU_CV, VDD_SOC none" in reason(ina3221.find(fs))


# ---- labels that lie ---------------------------------------------------------------------------------------------


def test_a_total_below_a_part_of_it_is_mislabelled(tmp_path: Path) -> None:
    swapped = {f"{HWMON}/in1_label": "VDD_SOC", f"{HWMON}/in3_label": "VDD_IN"}
    assert reason(ina3221.find(board("jetson-orin-nano", tmp_path, swapped))) == (
        "the rail VDD_IN shows 1.53 W and VDD_SOC, a part of it, 4.67 W: their labels are wrong; use another meter"
    )


def test_noise_is_no_lie(tmp_path: Path) -> None:
    # 4.67 W of total, a part of 4.9 W: within 5 % and 0.1 W
    fs = board("jetson-orin-nano", tmp_path, {f"{HWMON}/curr3_input": 975})
    assert isinstance(ina3221.find(fs), Ina3221)


def test_a_lie_that_shows_later_ends_the_readings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fs = board("jetson-orin-nano", tmp_path)
    found = meter(ina3221.find(fs))
    set_file(fs, f"{HWMON}/curr2_input", 2000)  # 10 W in a part of 4.67 W, from now on
    with caplog.at_level(logging.ERROR):
        powers = [found.read_power_w() for _ in range(200)]
    assert [n for n, power_w in enumerate(powers, 1) if power_w is None] == list(range(151, 201))  # the third check
    assert "VDD_CPU_GPU_CV, a part of it, 10.05 W" in caplog.text


def test_one_odd_glance_is_forgiven(tmp_path: Path) -> None:
    fs = board("jetson-orin-nano", tmp_path)
    found = meter(ina3221.find(fs))
    for checks in range(6):
        set_file(fs, f"{HWMON}/curr2_input", 2000 if checks % 2 else 100)
        assert all(found.read_power_w() for _ in range(50))
