"""INA219s, INA226s and their sisters that somebody has added: units, swapped leads, and which one is the supply."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest

from edge_client.hardware import ina2xx
from edge_client.hardware.ina2xx import Ina2xx
from tests.edge_client.captured import CapturedFs, board, reason, set_file
from tests.edge_client.trees import put

CHIP = "sys/class/hwmon/hwmon2"
DENIED = OSError(errno.EACCES, "")


def meter(found: object) -> Ina2xx:
    assert isinstance(found, Ina2xx), found
    return found


def chips(root: Path, *powers_uw: int, labels: tuple[str, ...] = ()) -> CapturedFs:
    """INA226s at hwmon3, hwmon4, ... and I2C addresses 1-0040, 1-0041, ..."""
    fs = CapturedFs(put(root, {"sys/class/hwmon/hwmon0/name": "cpu_thermal"}).root)
    for n, power_uw in enumerate(powers_uw):
        folder = f"sys/class/hwmon/hwmon{n + 3}"
        set_file(fs, f"{folder}/name", "ina226")
        set_file(fs, f"{folder}/power1_input", power_uw)
        (root / folder / "device").symlink_to(f"../../../1-004{n}")
        if labels:
            set_file(fs, f"{folder}/label", labels[n])
    return fs


def test_power_is_in_microwatts_and_the_shunts_voltage_is_none(tmp_path: Path) -> None:
    fs = board("raspberry-pi-4b", tmp_path)
    found = meter(ina2xx.find(fs))
    assert found.read_power_w() == 2.97
    assert (found.info.name, found.info.boundary) == ("ina219", "board")
    set_file(fs, f"{CHIP}/power1_input", None)
    assert found.read_power_w() == pytest.approx(5.104 * 0.582)  # in1 is the bus, in0 the shunt
    set_file(fs, f"{CHIP}/in1_input", None)
    assert found.read_power_w() is None


@pytest.mark.parametrize("value", [DENIED, OSError(errno.EREMOTEIO, ""), "", "inf", "0", "-5"])
def test_what_cannot_be_read_is_none_not_zero(tmp_path: Path, value: object) -> None:
    fs = board("raspberry-pi-4b", tmp_path, {f"{CHIP}/curr1_input": None})
    found = meter(ina2xx.find(fs))
    set_file(fs, f"{CHIP}/power1_input", value)
    assert found.read_power_w() is None


def test_a_chip_at_the_end_of_its_range_says_nothing(tmp_path: Path) -> None:
    # 320 mV over 0.1 Ohm are 3.2 A; at 5.104 V, less 2 %: 16.006 W, and it could be any more
    fs = board("raspberry-pi-4b", tmp_path)
    found = meter(ina2xx.find(fs))
    set_file(fs, f"{CHIP}/power1_input", 16_000_000)
    assert found.read_power_w() == 16.0
    set_file(fs, f"{CHIP}/power1_input", 16_010_000)
    assert found.read_power_w() is None


def test_swapped_leads_give_nothing(tmp_path: Path) -> None:
    fs = board("raspberry-pi-4b", tmp_path, {f"{CHIP}/power1_input": None, f"{CHIP}/curr1_input": -582})
    assert meter(ina2xx.find(fs)).read_power_w() is None


def test_without_rights_it_is_unavailable_and_says_why(tmp_path: Path) -> None:
    fs = board("raspberry-pi-4b", tmp_path, {f"{CHIP}/power1_input": DENIED, f"{CHIP}/curr1_input": DENIED})
    assert (
        reason(ina2xx.find(fs)) == f"/{CHIP}/power1_input: Permission denied; check the driver and this user's rights"
    )


def test_watts_that_are_not_volts_times_amperes_have_the_wrong_unit(tmp_path: Path) -> None:
    fs = board("raspberry-pi-4b", tmp_path, {f"{CHIP}/power1_input": 2970})  # milliwatts
    assert reason(ina2xx.find(fs)) == (
        f"/{CHIP}/power1_input says 0.00297 W, volts times amperes 2.97 W: "
        "wrong units or shunt; set shunt_resistor to that of the board"
    )


def test_a_board_without_such_a_chip(tmp_path: Path) -> None:
    assert "no INA219 or INA226" in reason(ina2xx.find(board("raspberry-pi-5", tmp_path)))  # rp1_adc is none


# ---- several of them ---------------------------------------------------------------------------------------------


def test_the_one_that_shows_most_is_the_supply(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = meter(ina2xx.find(chips(tmp_path, 1_000_000, 6_000_000, 2_000_000)))
    assert found.read_power_w() == 6.0
    assert "(hwmon:1-0040 1.00 W, hwmon:1-0041 6.00 W, hwmon:1-0042 2.00 W)" in caplog.text


def test_a_label_says_better(tmp_path: Path) -> None:
    fs = chips(tmp_path, 1_000_000, 6_000_000, labels=("supply", "camera"))
    assert meter(ina2xx.find(fs)).read_power_w() == 1.0


@pytest.mark.parametrize("name", ["1-0040", "hwmon3", "solar"])
def test_the_user_says_best(tmp_path: Path, name: str) -> None:
    fs = chips(tmp_path, 1_000_000, 6_000_000, labels=("solar", "supply"))
    assert meter(ina2xx.find(fs, name)).read_power_w() == 1.0


@pytest.mark.parametrize(("name", "many"), [("1-0049", "none"), ("ina226", "2")])
def test_a_name_that_is_not_one_chips_is_answered_with_those_there_are(tmp_path: Path, name: str, many: str) -> None:
    found = ina2xx.find(chips(tmp_path, 1_000_000, 6_000_000), name)
    assert reason(found) == f"'{name}' names {many} of the chips here; give one of hwmon:1-0040, hwmon:1-0041"


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    fs = put(tmp_path, {f"sys/class/hwmon/hwmon{n}/name": "ina219" for n in (2, 10)})
    assert [chip.folder[-7:] for chip in ina2xx.list_chips(fs)] == ["/hwmon2", "hwmon10"]
