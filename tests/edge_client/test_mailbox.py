"""The firmware's mailbox: a request and an answer word by word."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_client.hardware import mailbox
from edge_client.hardware.mailbox import Mailbox
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.vcgencmd import Vcgencmd


def test_a_request_word_by_word() -> None:
    asked = mailbox.request("measure_temp")
    # size, process request, tag, room for the value, its length, error; the command; the end tag
    assert struct.unpack("=6I", asked[:24]) == (6 * 4 + 4096 + 4, 0, 0x00030080, 4096, 0, 0)
    assert asked[24:] == b"measure_temp" + bytes(4096 - 12) + bytes(4)


def test_the_answer_stands_where_the_command_was(tmp_path: Path) -> None:
    calls = []

    def ioctl(fd: int, number: int, buffer: bytearray, mutate: bool) -> int:
        calls.append((number, bytes(buffer[24:37]), mutate))
        buffer[4:8] = struct.pack("=I", 0x80000000)
        buffer[24:36] = b"temp=47.2'C\0"
        return 0

    (tmp_path / "vcio").touch()
    assert Mailbox(str(tmp_path / "vcio"), ioctl).ask("measure_temp") == "temp=47.2'C"
    assert calls == [(0xC0086400, b"measure_temp\0", True)]


@pytest.mark.parametrize(("code", "error"), [(0, 0), (0x80000001, 0), (0x80000000, 1)])
def test_what_the_firmware_refuses_is_none(code: int, error: int) -> None:
    buffer = bytearray(mailbox.request("x"))
    struct.pack_into("=I", buffer, 4, code)
    struct.pack_into("=I", buffer, 20, error)
    assert mailbox.answer(buffer) is None


def test_a_device_that_cannot_be_asked_is_none(tmp_path: Path) -> None:
    assert Mailbox(str(tmp_path / "vcio")).ask("x") is None
    (tmp_path / "vcio").touch()
    assert Mailbox(str(tmp_path / "vcio")).ask("x") is None  # a file takes no such request
    assert mailbox.find(SysFs(tmp_path)) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/vcio").touch()
    assert mailbox.find(SysFs(tmp_path)) is not None


class _Firmware:
    """A mailbox that knows one answer, and counts what it is asked."""

    def __init__(self, said: str | None) -> None:
        self.said = said
        self.asked: list[str] = []

    def ask(self, command: str) -> str | None:
        self.asked.append(command)
        return self.said


def test_clock_and_throttling_are_asked_through_it(tmp_path: Path) -> None:
    box = _Firmware("frequency(48)=1500018432")
    assert Vcgencmd(SysFs(tmp_path), None, box).arm_clock_hz() == 1500018432
    assert box.asked == ["measure_clock arm"]
    assert Vcgencmd(SysFs(tmp_path), None, _Firmware("throttled=0x50005")).limits() == {"under_voltage", "throttled"}


def test_the_command_is_asked_where_the_mailbox_is_silent(tmp_path: Path) -> None:
    ran = []

    def run(command: Sequence[str]) -> str:
        ran.append(tuple(command))
        return "throttled=0x0"

    silent = _Firmware(None)
    assert Vcgencmd(SysFs(tmp_path, run), "vcgencmd", silent).limits() == frozenset()
    assert (silent.asked, ran) == (["get_throttled"], [("vcgencmd", "get_throttled")])
    assert Vcgencmd(SysFs(tmp_path), None, silent).limits() is None
