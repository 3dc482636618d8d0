"""Collects a task's blobs: the global model, and what of its synthetic samples is not here yet.

The model last collected is kept by its digest, from its first use on in a file: the trainer reads it there, and memory
is what a board has least of. What a shard needs is asked for by `samples.py`, and waits on disk chunk
by chunk (`partial.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_client.agent.partial import Partial
from edge_client.errors import StorageError
from edge_client.protocol.chunks import ACK_EVERY, Assembler
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk
from edge_client.training.memory import give_back
from edge_client.training.store import write_whole

log = logging.getLogger(__name__)

STALL_S = 3.0
"""Without a new chunk for so long, a receiver asks for what lacks; the wait grows while nobody answers."""

LONGEST_STALL_S = 24.0


@dataclass(frozen=True)
class Received:
    """A chunk; `addressed`: it came to this device alone."""

    chunk: Chunk
    addressed: bool


@dataclass(frozen=True)
class _Wanted:
    """A blob on its way: who waits for it, and where its chunks are kept meanwhile (None: in memory alone)."""

    assembler: Assembler
    arrived: asyncio.Future[bytes]
    partial: Partial | None


class Collector:
    """`say(progress)` speaks to the server, `ready(digest)` is called when the model is complete."""

    def __init__(
        self, device: str, folder: Path, say: Callable[[BlobProgress], None], ready: Callable[[str], None]
    ) -> None:
        self._path = folder / "model.safetensors"
        self._device = device
        self._say = say
        self._ready = ready
        self._wanted: dict[str, _Wanted] = {}
        self._model: tuple[str, bytes | None] | None = None  # its digest, and its bytes until they are in the file
        self._done: set[str] = set()
        self._quiet_since = 0.0
        self._stall_s = STALL_S

    def want(self, model: BlobRef, now: float) -> None:
        """Begin to collect the model; one that is here is reported complete at once."""
        self._wanted.clear()
        self._done.clear()
        self._quiet_since, self._stall_s = now, STALL_S
        if self._model is not None and self._model[0] == model.digest and (self._model[1] or self._path.exists()):
            self._done.add(model.digest)
            self._say(_complete(self._device, model.digest, Assembler(model).count))
            self._ready(model.digest)
        else:
            self._model = None
            self._expect(model).add_done_callback(lambda arrived: self._take_model(model.digest, arrived))

    async def collect(self, ref: BlobRef, partial: Partial | None = None) -> bytes:
        """A blob whose sender waits to hear what of it is here; raises StorageError where it cannot be kept."""
        arrived, self._stall_s = self._expect(ref, partial), STALL_S
        wanted = self._wanted[ref.digest]
        if partial is not None:
            partial.restore(wanted.assembler)
        if wanted.assembler.complete:
            self._finish(wanted)
        else:
            self._say(wanted.assembler.progress(self._device, stalled=True))
        return await arrived

    def has(self, name: str, count: int) -> None:
        """Tell the server of a blob of `count` chunks that need not be sent."""
        self._done.add(name)
        self._say(_complete(self._device, name, count))

    def forget(self) -> None:
        """Collect no more; what is complete stays."""
        self._wanted.clear()

    def model(self, name: str) -> Path:
        """The file of the model, which is complete; raises StorageError where it cannot be written."""
        if self._model is None or self._model[0] != name:
            raise ProtocolError(f"the model {name[:12]} is not here")
        if (blob := self._model[1]) is not None:
            write_whole(self._path, blob)
            self._model, blob = (name, None), None
            give_back()
        return self._path

    def add(self, chunk: Chunk, now: float, *, addressed: bool) -> None:
        """Take a chunk; `addressed`: it came to this device alone, so its sender waits for word."""
        wanted = self._wanted.get(chunk.digest)
        if wanted is None:
            if addressed and chunk.digest in self._done:
                self._say(_complete(self._device, chunk.digest, chunk.count))
            return
        assembler = wanted.assembler
        try:
            new = assembler.add(chunk)
            if wanted.partial is not None and new:
                wanted.partial.keep(chunk)
        except StorageError as error:
            self._fail(wanted, error)
            return
        except ProtocolError as error:
            log.warning("%s", error)
            try:
                if wanted.partial is not None and not assembler.received:
                    wanted.partial.clear()
            except StorageError as full:
                self._fail(wanted, full)
                return
            self._say(assembler.progress(self._device, stalled=True))
            return
        if assembler.complete:
            self._finish(wanted)
        elif (new and assembler.received % ACK_EVERY == 0) or (addressed and not new):
            self._say(assembler.progress(self._device))
        if new:
            self._quiet_since, self._stall_s = now, STALL_S

    def tick(self, now: float, *, reconnected: bool = False) -> None:
        """Ask for what lacks where nothing came for a while, or chunks may have been lost with a connection."""
        if self._wanted and (reconnected or now - self._quiet_since >= self._stall_s):
            for wanted in self._wanted.values():
                self._say(wanted.assembler.progress(self._device, stalled=True))
            self._quiet_since, self._stall_s = now, min(2 * self._stall_s, LONGEST_STALL_S)

    def _expect(self, ref: BlobRef, partial: Partial | None = None) -> asyncio.Future[bytes]:
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._wanted[ref.digest] = _Wanted(Assembler(ref), arrived, partial)
        return arrived

    def _finish(self, wanted: _Wanted) -> None:
        name = wanted.assembler.digest
        del self._wanted[name]
        self._done.add(name)
        self._say(wanted.assembler.progress(self._device))
        if not wanted.arrived.done():  # whoever waited may have been cancelled
            wanted.arrived.set_result(wanted.assembler.blob)

    def _fail(self, wanted: _Wanted, error: StorageError) -> None:
        del self._wanted[wanted.assembler.digest]
        if not wanted.arrived.done():
            wanted.arrived.set_exception(error)

    def _take_model(self, name: str, arrived: asyncio.Future[bytes]) -> None:
        if not arrived.cancelled():
            self._model = (name, arrived.result())
            self._ready(name)


def _complete(device: str, name: str, count: int) -> BlobProgress:
    return BlobProgress(sender=device, digest=name, received=count, complete=True)
