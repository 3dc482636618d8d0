"""Sends the weights: a window of chunks that the server has not acknowledged, paced to the planned rate."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from edge_client.errors import LinkError
from edge_client.protocol.chunks import SERVER, SendWindow, blob_ref, cut
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk

log = logging.getLogger(__name__)

PROBE_S = 5.0
"""Without word for so long the last chunk is sent again: the receiver then says what it has."""

_PROBES = 60


class Pacer:
    """Spaces bytes out to `bits_per_s` on average; None: as fast as they go."""

    def __init__(self, bits_per_s: float | None) -> None:
        self._bits_per_s = bits_per_s
        self._free_at: float | None = None

    def delay_s(self, size_bytes: int, now: float) -> float:
        """How long to wait before sending so many bytes at `now`; takes them as sent then."""
        if self._bits_per_s is None:
            return 0.0
        start = max(now, self._free_at if self._free_at is not None else now)
        self._free_at = start + size_bytes * 8 / self._bits_per_s
        return self._free_at - now  # after its own time on the line, so that the mean holds for one chunk as well


class Uploader:
    """One upload. `send(chunk)` returns the bytes of its message."""

    def __init__(
        self, blob: bytes, chunk_bytes: int, bits_per_s: float | None, send: Callable[[Chunk], Awaitable[int]]
    ) -> None:
        self._blob = blob
        self.ref: BlobRef = blob_ref(blob, chunk_bytes)
        self._window = SendWindow(self.ref, [SERVER])
        self._pacer = Pacer(bits_per_s)
        self._send = send
        self._word = asyncio.Event()
        self._probe = False
        self.bits = 0

    def heard(self, progress: BlobProgress) -> None:
        """The server's word; about another blob it is ignored."""
        self._window.heard(progress)
        self._word.set()

    def nudge(self) -> None:
        """The connection is back: chunks on their way may be lost, ask at once."""
        self._probe = True
        self._word.set()

    async def run(self) -> None:
        """Send until the server has all of it; raises LinkError when it never answers."""
        last, probes = 0, 0
        while not self._window.done:
            self._word.clear()
            indices = [*self._window.take_asked().get(SERVER, ()), *self._window.take()]
            for index in indices:
                await self._send_one(index)
                last = max(last, index)
            if indices or self._window.done:
                continue
            try:
                await asyncio.wait_for(self._word.wait(), PROBE_S)
                probes = 0
            except asyncio.TimeoutError:
                probes += 1
                self._probe = True
                if probes > _PROBES:
                    raise LinkError("the server does not acknowledge the update's chunks") from None
                log.info("no word about the update for %g s: sending chunk %d again", PROBE_S, last)
            if self._probe:
                self._probe = False
                await self._send_one(last)

    async def _send_one(self, index: int) -> None:
        chunk = cut(self._blob, self.ref, index)
        await asyncio.sleep(self._pacer.delay_s(len(chunk.data), time.monotonic()))
        self.bits += 8 * await self._send(chunk)
