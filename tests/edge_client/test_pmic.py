"""The power rails and the firmware's words of a Raspberry Pi."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_client.errors import HardwareError
from edge_client.hardware import pmic
from edge_client.hardware.sysfs import SysFs, run_command
from edge_client.hardware.vcgencmd import Vcgencmd, parse_clock, parse_limits
from tests.edge_client.captured import board, reason

NAME = "Raspberry Pi 5 Model B Rev 1.0"
# Each rail 1 V and 0.1 A, but VDD_CORE 0.9 V and 2 A: 11 * 0.1 + 1.8 = 2.9 W. EXT5V and BATT have no current.
ADC = "".join(
    f" {rail}_A current({n})={2 if rail == 'VDD_CORE' else 0.1}A\n"
    f" {rail}_V volt({n + 8})={0.9 if rail == 'VDD_CORE' else 1}V\n"
    for n, rail in enumerate(sorted(pmic.RAILS))
) + ("      EXT5V_V volt(24)=5.10000000V\n      BATT_V volt(25)=0.00000000V\n")


def firmware(answer: str | HardwareError) -> Vcgencmd:
    """A vcgencmd that always says so, or fails."""

    def run(argv: Sequence[str]) -> str:
        if isinstance(answer, HardwareError):
            raise answer
        return answer

    return Vcgencmd(SysFs(Path(), run), "vcgencmd")


def test_rails_with_both_numbers_are_summed_and_corrected() -> None:
    assert pmic.parse(ADC) == pytest.approx(2.9)
    assert pmic.Pmic(firmware(ADC)).read_power_w() == pytest.approx(1.145 * 2.9 + 0.588)
    assert (pmic.Pmic.info.name, pmic.Pmic.info.boundary) == ("pi5-pmic", "board")


def test_a_captured_board_through_its_command(tmp_path: Path) -> None:
    fs = board("raspberry-pi-5", tmp_path)
    path = fs.command("vcgencmd")
    assert path is not None
    found = pmic.find(Vcgencmd(fs, path), NAME)
    assert isinstance(found, pmic.Pmic)
    assert found.read_power_w() == pytest.approx(1.145 * 1.7114407 + 0.588)
    assert Vcgencmd(fs, path).arm_clock_hz() == 1500018432
    assert Vcgencmd(fs, path).limits() == frozenset()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        'error=1 error_msg="Command not registered"',
        ADC.replace("VDD_CORE_A", "VDD_CORE_X"),  # a rail is missing: the sum is not the board's
        ADC.replace("VDD_CORE_V volt", "VDD_CORE_V vo"),
        ADC.replace("=2A", "=2V"),
        ADC.replace("=2A", "=2.0.1A"),
        ADC.replace("=2A", "=nanA"),
        ADC.replace("=2A", "=-2A"),
        ADC[: len(ADC) // 2],
        "".join(line.partition("=")[0] + f"=0{line[-2]}\n" for line in ADC.splitlines(keepends=True)),
        HardwareError("vcgencmd pmic_read_adc: timed out after 5 seconds"),
    ],
)
def test_garbled_and_missing_rails_are_none_not_less(answer: str | HardwareError) -> None:
    assert pmic.Pmic(firmware(answer)).read_power_w() is None


def test_the_mailbox_goes_before_the_command_where_it_answers() -> None:
    assert isinstance(pmic.find(None, NAME, firmware(ADC)), pmic.Pmic)
    both = pmic.find(firmware(ADC), NAME, firmware(HardwareError("no such tag")))
    assert isinstance(both, pmic.Pmic)
    assert both.read_power_w() == pytest.approx(1.145 * 2.9 + 0.588)
    assert "raspi-utils" in reason(pmic.find(None, NAME, firmware(ADC[:100])))


def test_a_command_that_hangs_is_given_up() -> None:
    with pytest.raises(HardwareError, match="timed out"):
        run_command(("sleep", "60"), timeout_s=0.05)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HardwareError("/dev/vcio: Permission denied"), "vcgencmd pmic_read_adc failed; add this user to the group"),
        ('error=1 error_msg="Command not registered"', "update the firmware: sudo rpi-eeprom-update -a"),
    ],
)
def test_what_is_in_the_way_is_said(answer: str | HardwareError, said: str) -> None:
    assert said in reason(pmic.find(firmware(answer), NAME))


def test_other_boards_have_none() -> None:
    assert "is no Raspberry Pi 5" in reason(pmic.find(firmware(ADC), "Raspberry Pi 4 Model B Rev 1.1"))
    assert "raspi-utils" in reason(pmic.find(None, NAME))
    assert isinstance(pmic.find(firmware(ADC), "Raspberry Pi Compute Module 5 Rev 1.0"), pmic.Pmic)


def test_the_firmwares_words() -> None:
    assert parse_clock("frequency(48)=1500398464\n") == 1500398464
    assert parse_clock("frequency(48)=0") is None
    assert parse_clock("error") is None
    assert parse_limits("throttled=0x0\n") == frozenset()
    assert parse_limits("throttled=0x50000") == frozenset()  # since boot, not now
    assert parse_limits("throttled=0x50005") == {"under_voltage", "throttled"}
    assert parse_limits("throttled=0x8") == {"soft_limit"}
    assert parse_limits("nonsense") is None
    assert firmware(HardwareError("no")).arm_clock_hz() is None
    assert firmware(HardwareError("no")).limits() is None
