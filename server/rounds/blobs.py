"""Large payloads of a round: the model and shards on their way out, updates on their way in.

No timer and no task stands behind a transfer: a sender's window is moved on by its receivers' word alone, and who lacks
something asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_client.protocol.chunks import ACK_EVERY, SERVER, Assembler, SendWindow, cut
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk, Update
from edge_client.protocol.topics import Topics


@dataclass(frozen=True)
class _Transfer:
    """A blob on its way to the receivers of `window`, by `topic` what goes to all of them."""

    blob: bytes
    ref: BlobRef
    topic: str
    window: SendWindow


class Outgoing:
    """What this server sends. `send(topic, chunk)` queues a message."""

    def __init__(self, topics: Topics, send: Callable[[str, Chunk], None]) -> None:
        self._topics = topics
        self._send = send
        self._transfers: dict[str, _Transfer] = {}
        self._delivered: set[tuple[str, str]] = set()

    def start(
        self,
        model: bytes,
        ref: BlobRef,
        devices: Iterable[str],
        quorum: int,
        shards: Mapping[str, tuple[bytes, BlobRef]],
    ) -> None:
        """Broadcast the model, a window ahead of the fastest `quorum` devices, and send each shard to its device.

        A shard that its device has had before is not sent again; the device asks if it has lost it.
        """
        self._transfers = {ref.digest: _Transfer(model, ref, self._topics.model, SendWindow(ref, devices, quorum))}
        for device, (blob, shard) in shards.items():
            transfer = _Transfer(blob, shard, self._topics.to_device(device), SendWindow(shard, [device]))
            if (device, shard.digest) in self._delivered:
                transfer.window.take()
            # Two devices may be given the same samples, so the receiver belongs into the key.
            self._transfers[f"{device}/{shard.digest}"] = transfer
        for transfer in self._transfers.values():
            self._pump(transfer)

    def heard(self, device: str, progress: BlobProgress) -> None:
        """A device's word on one of them; word on anything else is ignored."""
        transfer = self._transfers.get(progress.digest) or self._transfers.get(f"{device}/{progress.digest}")
        if transfer is None:
            return
        transfer.window.heard(progress)
        if progress.complete:
            self._delivered.add((device, progress.digest))
        self._pump(transfer)

    def stop(self) -> None:
        """Send no more; what was delivered is remembered."""
        self._transfers.clear()

    def _pump(self, transfer: _Transfer) -> None:
        for index in transfer.window.take():
            self._send(transfer.topic, cut(transfer.blob, transfer.ref, index))
        for device, indices in transfer.window.take_asked().items():
            for index in indices:
                self._send(self._topics.to_device(device), cut(transfer.blob, transfer.ref, index))


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
