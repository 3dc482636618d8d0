"""Sends the weights: a window of chunks that the server has not acknowledged, paced to the planned rate.

Pacing counts whole packets and every one that is sent, by absolute time: by t no more than rate * t has been handed
over. Chunks are cut small enough to make an even stream. The kernel's own pacing (SO_MAX_PACING_RATE) is not used: see
README, Bandwidth.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from edge_client.errors import LinkError
from edge_client.protocol.chunks import SERVER, SendWindow, blob_ref, cut
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk

log = logging.getLogger(__name__)

PROBE_S = 5.0
"""Without word for so long the last chunk is sent again: the receiver then says what it has."""

CATCH_UP_S = 0.5
"""So much of a delay is made up for at once; what a longer one (a lost connection) has cost is lost."""

CHUNK_S = 0.1
"""A chunk's time at the planned rate; it is out at once, so that no heartbeat waits behind a queue of them."""

FEWEST_CHUNK_BYTES = 4096
"""Of a paced chunk: its envelope is then under 5 %."""

_PROBES = 60


def chunk_bytes_at(bits_per_s: float | None, most_bytes: int) -> int:
    """How large to cut the chunks of an upload at a rate (None: as fast as it goes)."""
    if bits_per_s is None:
        return most_bytes
    return min(most_bytes, max(FEWEST_CHUNK_BYTES, round(bits_per_s / 8 * CHUNK_S)))


class Pacer:
    """Spaces bytes out to `bits_per_s`; None: as fast as they go. Each packet goes at the end of its own time at that
    rate, so that the mean holds for a single one as well."""

    def __init__(self, bits_per_s: float | None) -> None:
        self._bits_per_s = bits_per_s
        self._out_at: float | None = None

    def delay_s(self, size_bytes: int, now: float) -> float:
        """How long to wait before handing so many bytes over at `now`; takes them as sent then."""
        if self._bits_per_s is None:
            return 0.0
        begun = now if self._out_at is None else max(self._out_at, now - CATCH_UP_S)
        self._out_at = begun + 8 * size_bytes / self._bits_per_s
        return max(0.0, self._out_at - now)


class Sender(Protocol):
    """Where chunks go."""

    def weigh(self, message: Chunk) -> int:
        """Bytes that `send` will take."""

    async def send(self, message: Chunk) -> int:
        """Send it; the bytes it took."""


class Uploader:
    """One upload. `on_back()` is called when the connection is there again."""

    def __init__(
        self, blob: bytes, chunk_bytes: int, pacer: Pacer, link: Sender, on_back: Callable[[], None] = lambda: None
    ) -> None:
        self._blob = blob
        self.ref: BlobRef = blob_ref(blob, chunk_bytes)
        self._window = SendWindow(self.ref, [SERVER])
        self._pacer = pacer
        self._link = link
        self._on_back = on_back
        self._word = asyncio.Event()
        self._probe = False
        self.bits = 0

    def heard(self, progress: BlobProgress) -> None:
        """The server's word; about another blob it is ignored."""
        self._window.heard(progress)
        self._word.set()

    def nudge(self) -> None:
        """The connection is back: chunks on their way may be lost, ask at once."""
        self._on_back()
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
        await asyncio.sleep(self._pacer.delay_s(self._link.weigh(chunk), time.monotonic()))
        self.bits += 8 * await self._link.send(chunk)
