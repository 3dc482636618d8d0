"""Large payloads of a round: the model and lists and parts of shards on their way out, updates on their way in.

No timer stands behind a transfer: a sender's window is moved on by its receivers' word alone, and who lacks something
asks for it. The parts of shards are packed in threads, for that takes seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_client.protocol.chunks import ACK_EVERY, SERVER, Assembler, SendWindow, blob_ref, cut
from edge_client.protocol.messages import AnyMessage, BlobProgress, BlobRef, Chunk, ShardNeeds, ShardPart, Update
from edge_client.protocol.shards import unpack_mask
from edge_client.protocol.topics import Topics
from server.records import SamplesSent
from server.rounds.samples import Ledger, Shard, packed_bytes, spared


@dataclass(frozen=True)
class _Transfer:
    """A blob on its way to the receivers of `window`, by `topic` what goes to all of them. `samples_of`: the device for
    whose synthetic samples it counts."""

    blob: bytes
    ref: BlobRef
    topic: str
    window: SendWindow
    samples_of: str | None = None


@dataclass(frozen=True)
class _Asked:
    """What a device lacks of its shard, and the task that packs and offers it."""

    lacking: bytes
    packing: asyncio.Task[None]


class Outgoing:
    """What this server sends. `send(topic, message)` queues a message, `fail(error)` ends the run."""

    def __init__(
        self, topics: Topics, send: Callable[[str, AnyMessage], None], fail: Callable[[Exception], None]
    ) -> None:
        self._topics = topics
        self._send = send
        self._fail = fail
        self._transfers: dict[str, _Transfer] = {}
        self._shards: Mapping[str, tuple[Shard, BlobRef]] = {}
        self._asked: dict[str, _Asked] = {}
        self._ledger = Ledger()
        self._standing: dict[str, tuple[bytes, BlobRef]] = {}
        self._standing_transfers: dict[str, _Transfer] = {}

    def stand(self, blob: bytes, ref: BlobRef) -> None:
        """Keep a blob ready, in rounds and between them, for any device that says what it has of it."""
        self._standing[ref.digest] = (blob, ref)

    def start(
        self,
        model: bytes,
        ref: BlobRef,
        devices: Iterable[str],
        quorum: int,
        shards: Mapping[str, tuple[Shard, BlobRef]],
    ) -> None:
        """Broadcast the model, a window ahead of the fastest `quorum` devices. Each device's list goes out once it says
        that it lacks it, and the samples that it says it lacks."""
        self.stop()
        self._ledger.open()
        self._shards = shards
        self._transfers = {ref.digest: _Transfer(model, ref, self._topics.model, SendWindow(ref, devices, quorum))}
        for device, (shard, listing) in shards.items():
            self._offer(device, shard.packed_list, listing)
        self._pump(self._transfers[ref.digest])

    def heard(self, device: str, progress: BlobProgress) -> None:
        """A device's word on one of them; word on anything else is ignored."""
        key = f"{device}/{progress.digest}"
        transfer = (
            self._transfers.get(progress.digest) or self._transfers.get(key) or self._asked_for(key, device, progress)
        )
        if transfer is not None:
            transfer.window.heard(progress)
            self._pump(transfer)
            if transfer.window.done:
                self._standing_transfers.pop(key, None)

    def needed(self, needs: ShardNeeds) -> None:
        """What a device lacks of the shard that it has a task with. Raises ProtocolError for bits that do not fit it.

        The same again is a device that has waited in vain, or that was started again: it hears the same answer.
        """
        device = needs.device
        shard, ref = self._shards.get(device, (None, None))
        if shard is None or ref is None or ref.digest != needs.shard:
            return
        lacking = unpack_mask(needs.lacking, len(shard))
        asked = self._asked.get(device)
        if asked is not None and asked.lacking == needs.lacking and not asked.packing.done():
            return  # it is on its way
        if asked is not None:
            asked.packing.cancel()
        packing = asyncio.create_task(self._answer(needs, shard, lacking, ref.chunk_bytes))
        packing.add_done_callback(self._packed)
        self._asked[device] = _Asked(needs.lacking, packing)

    def stop(self) -> None:
        """Send no more."""
        self._transfers.clear()
        self._shards = {}
        for asked in self._asked.values():
            asked.packing.cancel()
        self._asked.clear()

    def samples_sent(self) -> tuple[SamplesSent, ...]:
        """What synthetic samples took in this round, by device."""
        return self._ledger.entries()

    def _asked_for(self, key: str, device: str, progress: BlobProgress) -> _Transfer | None:
        """The way of a standing blob to one device; begun anew where it has nothing of it (any more)."""
        found, (blob, ref) = self._standing_transfers.get(key), self._standing.get(progress.digest, (None, None))
        if blob is None or ref is None or progress.complete or (found is not None and progress.received):
            return found
        window = SendWindow(ref, [device], resumes=True)
        self._standing_transfers[key] = _Transfer(blob, ref, self._topics.to_device(device), window)
        return self._standing_transfers[key]

    async def _answer(self, needs: ShardNeeds, shard: Shard, lacking: np.ndarray, chunk_bytes: int) -> None:
        device = needs.device
        if lacking.any():
            blob = await asyncio.to_thread(shard.part, lacking)
            ref = blob_ref(blob, chunk_bytes)
            self._offer(device, blob, ref)
            part = ShardPart(run=needs.run, round=needs.round, shard=needs.shard, samples=int(lacking.sum()), part=ref)
            self._send(self._topics.to_device(device), part)
            self._ledger.note(device, sent=part.samples)
        if self._ledger.first_needs(device, needs.shard):
            kept = spared(shard.listing, lacking)
            bytes_spared = await asyncio.to_thread(packed_bytes, shard, kept)
            self._ledger.note(device, spared=int(kept.sum()), bytes_spared=bytes_spared)

    def _packed(self, packing: asyncio.Task[None]) -> None:
        error = None if packing.cancelled() else packing.exception()
        if isinstance(error, Exception):
            self._fail(error)

    def _offer(self, device: str, blob: bytes, ref: BlobRef) -> None:
        """Have a blob ready for one device, which says first what it has of it."""
        window = SendWindow(ref, [device], resumes=True)
        # Two devices may be given the same samples, so the receiver belongs into the key.
        self._transfers[f"{device}/{ref.digest}"] = _Transfer(blob, ref, self._topics.to_device(device), window, device)

    def _pump(self, transfer: _Transfer) -> None:
        for index in transfer.window.take():
            self._cut(transfer, transfer.topic, index)
        for device, indices in transfer.window.take_asked().items():
            for index in indices:
                self._cut(transfer, self._topics.to_device(device), index)

    def _cut(self, transfer: _Transfer, topic: str, index: int) -> None:
        chunk: Chunk = cut(transfer.blob, transfer.ref, index)
        if transfer.samples_of is not None:
            self._ledger.note(transfer.samples_of, bytes_sent=len(chunk.data))
        self._send(topic, chunk)


class Incoming:
    """The updates being collected, one a device. `say(device, progress)` queues a message."""

    def __init__(self, say: Callable[[str, BlobProgress], None]) -> None:
        self._say = say
        self._assemblers: dict[str, Assembler] = {}
        self._announced: dict[str, Update] = {}

    def add(self, device: str, chunk: Chunk, chunk_bytes: int, max_bytes: int) -> None:
        """Take a chunk; a device that begins another blob has dropped the one before.

        Raises ProtocolError for a chunk that cannot be or a wrong digest; the device hears what is here.
        """
        assembler = self._assemblers.get(device)
        if assembler is None or (assembler.digest, assembler.count) != (chunk.digest, chunk.count):
            assembler = self._assemblers[device] = Assembler.from_chunk(chunk, chunk_bytes, max_bytes)
        new = False
        try:
            new = assembler.add(chunk)
        finally:  # also where the digest was wrong: the device must hear that it starts over
            if not new or assembler.complete or assembler.received % ACK_EVERY == 0:
                self._say(device, assembler.progress(SERVER))

    def announce(self, update: Update) -> None:
        """An `Update` names its blob; what lacks is asked for."""
        assembler = self._assemblers.get(update.device)
        if assembler is None or assembler.digest != update.weights.digest:
            assembler = self._assemblers[update.device] = Assembler(update.weights)
        self._announced[update.device] = update
        if not assembler.complete:
            self._say(update.device, assembler.progress(SERVER, stalled=True))

    def ready(self, device: str) -> Update | None:
        """The device's update if it is announced and complete."""
        update, assembler = self._announced.get(device), self._assemblers.get(device)
        fits = update is not None and assembler is not None and assembler.digest == update.weights.digest
        return update if fits and assembler is not None and assembler.complete else None

    def take(self, device: str) -> bytes:
        """The complete blob, which is then forgotten."""
        self._announced.pop(device, None)
        return self._assemblers.pop(device).blob

    def drop(self, device: str) -> None:
        """Nothing more of this device is wanted."""
        self._announced.pop(device, None)
        self._assemblers.pop(device, None)
