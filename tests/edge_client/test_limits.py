"""What holds a clock down, as boards show it."""

from __future__ import annotations

from pathlib import Path

from edge_client.hardware.limits import Limits
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.vcgencmd import Vcgencmd
from tests.edge_client.trees import put

_COOLER = "sys/class/thermal/cooling_device"
_COUNT = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"


class _Firmware:
    def __init__(self, bits: str) -> None:
        self.bits = bits

    def ask(self, command: str, /) -> str | None:
        return f"throttled={self.bits}" if command == "get_throttled" else None


def test_a_board_that_tells_nothing(tmp_path: Path) -> None:
    assert Limits(SysFs(tmp_path), None).read() is None


def test_the_firmware_bits_have_names(tmp_path: Path) -> None:
    firmware = _Firmware("0x0")
    limits = Limits(SysFs(tmp_path), Vcgencmd(SysFs(tmp_path), None, firmware))
    assert limits.read() == frozenset()
    firmware.bits = "0x50007"
    assert limits.read() == {"under_voltage", "capped", "throttled"}
    firmware.bits = "nonsense"
    assert limits.read() is None


def test_the_kernels_cooling_of_the_processor_counts_and_that_of_a_fan_does_not(tmp_path: Path) -> None:
    fs = put(
        tmp_path,
        {
            f"{_COOLER}0/type": "pwm-fan", f"{_COOLER}0/cur_state": 3,
            f"{_COOLER}1/type": "thermal-cpufreq-0", f"{_COOLER}1/cur_state": 0,
        },
    )  # fmt: skip
    limits = Limits(fs, None)
    assert limits.read() == frozenset()
    put(tmp_path, {f"{_COOLER}1/cur_state": 2})
    assert limits.read() == {"cooling"}
    (tmp_path / f"{_COOLER}1/cur_state").unlink()
    assert limits.read() is None


def test_a_count_that_grew_means_throttled_since_the_last_look(tmp_path: Path) -> None:
    limits = Limits(put(tmp_path, {_COUNT: 7}), None)
    assert limits.read() == frozenset()
    put(tmp_path, {_COUNT: 9})
    assert limits.read() == {"throttled"}
    assert limits.read() == frozenset()
    put(tmp_path, {_COUNT: 12})
    limits.mark()
    assert limits.read() == frozenset()  # before the window
