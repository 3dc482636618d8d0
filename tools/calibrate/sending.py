"""Sends over TCP as fast as the line takes it, and tells what got through; and the other end, which swallows it.

What the kernel still holds (SIOCOUTQ, tcp(7)) is not counted as sent: at low rates its buffer is seconds of the line.
The size of a segment is set by TCP_MAXSEG, so that frames of two sizes can be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator

from tools.calibrate.errors import CalibrateError

SMALLEST_PAYLOAD, LARGEST_PAYLOAD = 88, 65_000
"""What the kernel takes as a segment's size; the link's own limit is lower and goes before it."""

_PIECE = bytes(16 * 1024)
_BUFFER_BYTES = 64 * 1024
_CONNECT_S = 10.0
_UNSENT = struct.Struct("i")


class Sending:
    """A connection that is kept full."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._handed_over = 0

    def arrived_bytes(self) -> int:
        """Bytes that the other end has acknowledged so far."""
        unsent = fcntl.ioctl(self._line.fileno(), termios.TIOCOUTQ, bytes(_UNSENT.size))
        return self._handed_over - int(_UNSENT.unpack(unsent)[0])

    async def keep_full(self) -> None:
        """Send until cancelled; raises OSError where the other end goes."""
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._line.fileno(), writable.set)
        try:
            while True:
                await writable.wait()
                try:
                    self._handed_over += self._line.send(_PIECE)
                except BlockingIOError:
                    writable.clear()
                await asyncio.sleep(0)
        finally:
            loop.remove_writer(self._line.fileno())


@contextlib.asynccontextmanager
async def sending(address: tuple[str, int], payload_bytes: int | None) -> AsyncIterator[Sending]:
    """A connection that is sent over as fast as it goes inside the context, in segments of `payload_bytes` (None: as
    large as the link takes). Raises CalibrateError where nobody listens, or the other end goes."""
    where = f"{address[0]}:{address[1]}"
    try:
        line = await asyncio.wait_for(_connect(address, payload_bytes), _CONNECT_S)
    except (OSError, TimeoutError, asyncio.TimeoutError) as error:
        why = getattr(error, "strerror", None) or "no answer"
        raise CalibrateError(
            f"--to {where}: {why}; start `fimi-calibrate radio-sink` on a machine behind the access point"
        ) from None
    with line:
        one = Sending(line)
        work = asyncio.ensure_future(one.keep_full())
        try:
            yield one
        finally:
            work.cancel()
            (ended,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(ended, OSError):
            raise CalibrateError(f"--to {where}: hung up ({ended.strerror}); the same command goes on once it is back")


async def _connect(address: tuple[str, int], payload_bytes: int | None) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(*address, type=socket.SOCK_STREAM)
    family, kind, protocol, _, to = found[0]
    line = socket.socket(family, kind, protocol)
    try:
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        # what is still queued when a window is over is dropped, not sent through the next one
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if payload_bytes is not None:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, payload_bytes)
        await loop.sock_connect(line, to)
    except BaseException:
        line.close()
        raise
    return line


async def sink(host: str, port: int) -> asyncio.Server:
    """Listens and swallows what comes; raises CalibrateError where the address is taken."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while await reader.read(1 << 16):
                pass

    try:
        return await asyncio.start_server(swallow, host, port)
    except OSError as error:
        raise CalibrateError(f"--listen {host}:{port}: {error.strerror}; give an address of this machine") from None
