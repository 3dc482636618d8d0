"""The power rails and the firmware's words of a Raspberry Pi."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.hardware import pmic
from edge_client.hardware.vcgencmd import Vcgencmd, parse_clock, parse_throttled
from tests.edge_client.trees import put

PI5_ADC = """\
 3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
 VDD_CORE_A current(7)=2.00000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
 VDD_CORE_V volt(15)=0.90000000V
      EXT5V_V volt(24)=5.10000000V
      BATT_V volt(25)=0.00000000V
"""


def test_pmic_rails_with_both_numbers_are_summed() -> None:
    # 0.1*3.7 + 0.2*3.3 + 2*0.9 = 2.83 W; EXT5V and BATT have no current
    assert pmic.parse(PI5_ADC) == pytest.approx(2.83)
    assert pmic.parse('error=1 error_msg="Command not registered"') is None
    assert pmic.parse("") is None
    assert pmic.parse(" VDD_CORE_A current(7)=2.0A\n") is None


def test_pmic_reads_through_the_command(tmp_path: Path) -> None:
    fs = put(tmp_path, {"adc": PI5_ADC, "bin/vcgencmd": f"#!/bin/sh\n[ $1 = pmic_read_adc ] && cat {tmp_path}/adc"})
    firmware = Vcgencmd(fs, str(tmp_path / "bin/vcgencmd"))
    assert pmic.Pmic(firmware).read_power_w() == pytest.approx(1.145 * 2.83 + 0.588)
    assert firmware.ask("measure_clock") is None  # the command failed
    assert firmware.arm_clock_hz() is None
    assert firmware.throttled() is None
    assert pmic.Pmic(Vcgencmd(fs, str(tmp_path / "none"))).read_power_w() is None


def test_the_firmwares_words() -> None:
    assert parse_clock("frequency(48)=1500398464\n") == 1500398464
    assert parse_clock("frequency(48)=0") is None
    assert parse_clock("error") is None
    assert parse_throttled("throttled=0x0\n") is False
    assert parse_throttled("throttled=0x50000") is False  # since boot, not now
    assert parse_throttled("throttled=0x50005") is True
    assert parse_throttled("throttled=0x8") is True
    assert parse_throttled("nonsense") is None
