"""A board's way to the broker: a TCP relay which tells the law when bytes flow, and what sending them draws besides.

Each direction has a fixed rate; with a radio, the way up has that of the moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable

_PIECE_BYTES = 16 * 1024

Uplink = Callable[[float], tuple[float, float]]
"""At a time (monotonic seconds): bytes a second on the way up, and watts that sending draws above the link's own."""


class LinkMeter:
    """Seconds in which bytes flowed, in either direction, and joules that sending drew above the link's own watts;
    written by the relay, drained by the governor's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._covered_until = 0.0
        self._pending_s = 0.0
        self._pending_j = 0.0
        self._drawn_j = 0.0

    def add(self, start_s: float, end_s: float, above_w: float = 0.0) -> None:
        """Bytes flow from `start_s` to `end_s`, drawing `above_w`; both directions at once count once in seconds."""
        with self._lock:
            self._pending_s += max(0.0, end_s - max(start_s, self._covered_until))
            self._covered_until = max(self._covered_until, end_s)
            self._pending_j += above_w * (end_s - start_s)

    def drain(self, dt_s: float) -> float:
        """The flowing seconds of the last `dt_s`; at most `dt_s`, what is left comes with the next call."""
        with self._lock:
            taken_s = min(self._pending_s, dt_s)
            if taken_s:
                share = taken_s / self._pending_s
                self._drawn_j += share * self._pending_j
                self._pending_j *= 1.0 - share
            self._pending_s -= taken_s
        return taken_s

    def drawn_j(self) -> float:
        """The joules above the link's own watts of the seconds that were drained since the last call."""
        with self._lock:
            drawn_j, self._drawn_j = self._drawn_j, 0.0
        return drawn_j


class Relay:
    """Listens on loopback and carries each connection to the broker at `rate_bytes_per_s`, each way for itself."""

    def __init__(self, broker: tuple[str, int], rate_bytes_per_s: float) -> None:
        self.meter = LinkMeter()
        self.connected = asyncio.Event()
        self.bytes_up = 0
        self.bytes_down = 0
        self._broker = broker
        self._rate = rate_bytes_per_s
        self.uplink: Uplink | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # one line for all connections: when a direction is free again
        self._free_at = {"up": 0.0, "down": 0.0}

    async def start(self) -> int:
        """The port it listens on."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # a small window, or the kernel would swallow megabytes before the line has carried them
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * _PIECE_BYTES)
        listener.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_PIECE_BYTES)
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        """Drop all connections."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either side hung up, or the board ends; the client sees its connection close and decides
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._broker, limit=_PIECE_BYTES)
        self.connected.set()
        for side in (writer, far_writer):
            side.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = {
            asyncio.ensure_future(self._pump(reader, far_writer, "up")),
            asyncio.ensure_future(self._pump(far_reader, writer, "down")),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            far_writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str) -> None:
        coming = asyncio.ensure_future(_stamped(source))
        try:
            while True:
                data, arrived = await coming
                if not data:
                    return
                # the next piece is awaited while the line carries this one: it must show when it came, or each late
                # wake-up would be time in which a full line stands still
                coming = asyncio.ensure_future(_stamped(source))
                await self._carry_piece(data, arrived, sink, way)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _carry_piece(self, data: bytes, arrived: float, sink: asyncio.StreamWriter, way: str) -> None:
        """Hand `data`, which came at `arrived`, on when the line has carried it."""
        start = max(arrived, self._free_at[way])
        rate, above_w = self._rate, 0.0
        if way == "up" and self.uplink is not None:
            rate, above_w = self.uplink(start)
        end = self._free_at[way] = start + len(data) / rate
        self.meter.add(start, end, above_w)
        if way == "up":
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        # by schedule, not by sleeping for each piece: late wake-ups do not slow the line down
        if (wait_s := end - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        sink.write(data)
        with contextlib.suppress(ConnectionError):
            await sink.drain()


async def _stamped(source: asyncio.StreamReader) -> tuple[bytes, float]:
    """The next piece, and when it came (monotonic seconds); empty at the end."""
    return await source.read(_PIECE_BYTES), time.monotonic()
