"""The firmware's mailbox: a request and an answer word by word."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edge_client.hardware import mailbox
from edge_client.hardware.mailbox import Mailbox
from edge_client.hardware.sysfs import SysFs


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
