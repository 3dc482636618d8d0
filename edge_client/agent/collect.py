"""Collects a task's blobs: the global model and the synthetic shard. What is held already is not sent again.

The model last collected and the shard last collected are kept by digest, the shard on disk too: it is sent once in a
run, and a restarted client still has it. No more than one of each is ever held (a board's storage is small).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from edge_client.protocol.chunks import ACK_EVERY, Assembler
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk
from edge_client.protocol.weights import digest

log = logging.getLogger(__name__)

STALL_S = 3.0
"""Without a new chunk for so long, a receiver asks for what lacks; the wait grows while nobody answers."""

_LONGEST_STALL_S = 24.0


class Collector:
    """`say(progress)` speaks to the server, `ready(digest)` is called when a blob is complete."""

    def __init__(
        self, device: str, folder: Path, say: Callable[[BlobProgress], None], ready: Callable[[str], None]
    ) -> None:
        self._device = device
        self._folder = folder
        self._say = say
        self._ready = ready
        self._wanted: dict[str, Assembler] = {}
        self._held: dict[str, bytes] = {}
        self._shard: str | None = None
        self._quiet_since = 0.0
        self._stall_s = STALL_S

    def want(self, model: BlobRef, shard: BlobRef | None, now: float) -> None:
        """Begin to collect; blobs that are here are reported complete at once."""
        refs = {ref.digest: ref for ref in (model, shard) if ref is not None}
        if shard is not None and shard.digest not in self._held and (blob := self._from_disk(shard)) is not None:
            self._held[shard.digest] = blob
        self._held = {name: blob for name, blob in self._held.items() if name in refs}
        self._wanted = {name: Assembler(ref) for name, ref in refs.items() if name not in self._held}
        self._shard = shard.digest if shard is not None else None
        self._quiet_since, self._stall_s = now, STALL_S
        for name in list(self._held):
            self._complete(name, refs[name])

    def forget(self) -> None:
        """Collect no more; what is complete stays."""
        self._wanted = {}

    def blob(self, name: str) -> bytes:
        """A blob that is complete."""
        return self._held[name]

    def add(self, chunk: Chunk, now: float, *, addressed: bool) -> None:
        """Take a chunk; `addressed`: it came to this device alone, so its sender waits for word."""
        assembler = self._wanted.get(chunk.digest)
        if assembler is None:
            if addressed and chunk.digest in self._held:
                self._say(_complete(self._device, chunk.digest, chunk.count))
            return
        try:
            new = assembler.add(chunk)
        except ProtocolError as error:
            log.warning("%s", error)
            self._say(assembler.progress(self._device, stalled=True))
            return
        if assembler.complete:
            del self._wanted[chunk.digest]
            self._held[chunk.digest] = assembler.blob
            if chunk.digest == self._shard:
                self._to_disk(chunk.digest, assembler.blob)
            self._say(assembler.progress(self._device))
            self._ready(chunk.digest)
        elif (new and assembler.received % ACK_EVERY == 0) or (addressed and not new):
            self._say(assembler.progress(self._device))
        if new:
            self._quiet_since, self._stall_s = now, STALL_S

    def tick(self, now: float, *, reconnected: bool = False) -> None:
        """Ask for what lacks where nothing came for a while, or chunks may have been lost with a connection."""
        if self._wanted and (reconnected or now - self._quiet_since >= self._stall_s):
            for assembler in self._wanted.values():
                self._say(assembler.progress(self._device, stalled=True))
            self._quiet_since, self._stall_s = now, min(2 * self._stall_s, _LONGEST_STALL_S)

    def _complete(self, name: str, ref: BlobRef) -> None:
        self._say(_complete(self._device, name, Assembler(ref).count))
        self._ready(name)

    # ---- the shard on disk ----

    def _from_disk(self, shard: BlobRef) -> bytes | None:
        try:
            blob = (self._folder / f"shard-{shard.digest}").read_bytes()
        except OSError:
            return None
        return blob if digest(blob) == shard.digest else None

    def _to_disk(self, name: str, blob: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for old in self._folder.glob("shard-*"):
                old.unlink()
            fresh = self._folder / "shard.partial"
            fresh.write_bytes(blob)
            fresh.replace(self._folder / f"shard-{name}")
        except OSError as error:
            log.warning("the shard is not kept on disk: %s", error)


def _complete(device: str, name: str, count: int) -> BlobProgress:
    return BlobProgress(sender=device, digest=name, received=count, complete=True)
