"""The Raspberry Pi firmware's mailbox: what vcgencmd asks and hears, without a process each time.

Source: raspberrypi/utils, vcgencmd.c, and the firmware's mailbox property interface. One ioctl on /dev/vcio (or
/dev/vcio_gencmd) with a buffer of 32-bit words: its size, 0 (the firmware writes 0x80000000 where it has understood),
the tag "get gencmd result", the length of its value, 0, an error (0: none), the command as text and later the answer,
and 0 at the end. A process a poll costs a per cent and more of a core at 10 Hz, this a tenth of that.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from functools import lru_cache

from edge_client.hardware.sysfs import SysFs

DEVICES = ("dev/vcio_gencmd", "dev/vcio")

_PROPERTY = 0xC0086400  # _IOWR(100, 0, char *) on 64-bit systems
_UNDERSTOOD = 0x80000000
_GENCMD = 0x00030080
_ROOM = 4096
_HEAD = struct.Struct("=6I")

Ioctl = Callable[[int, int, bytearray, bool], int]


@lru_cache
def request(command: str) -> bytes:
    """What the buffer holds that asks `command`."""
    text = command.encode().ljust(_ROOM, b"\0")
    head = _HEAD.pack(_HEAD.size + _ROOM + 4, 0, _GENCMD, _ROOM, 0, 0)
    return head + text + bytes(4)


def answer(buffer: bytes | bytearray) -> str | None:
    """The text in the buffer as the firmware has left it, or None."""
    _, code, _, _, _, error = _HEAD.unpack_from(buffer)
    if code != _UNDERSTOOD or error:
        return None
    return buffer[_HEAD.size : buffer.index(0, _HEAD.size)].decode("utf-8", errors="replace")  # the end tag is 0


class Mailbox:
    """One device file."""

    def __init__(self, path: str, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._path = path
        self._ioctl = ioctl

    def ask(self, command: str) -> str | None:
        """The answer, or None where the firmware could not be asked."""
        buffer = bytearray(request(command))
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._ioctl(fd, _PROPERTY, buffer, True)
            finally:
                os.close(fd)
        except OSError:
            return None
        return answer(buffer)


def find(fs: SysFs) -> Mailbox | None:
    """The mailbox of this board, if this user may open it."""
    for device in DEVICES:
        if os.access(fs.root / device, os.R_OK | os.W_OK):
            return Mailbox(str(fs.root / device))
    return None
