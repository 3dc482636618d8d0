"""A scripted server for one device: enough of the protocol to take it through a run, and to misbehave on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import aiomqtt
import numpy as np

from edge_client.protocol.chunks import Assembler, SendWindow, blob_ref, cut
from edge_client.protocol.messages import (
    AnyMessage,
    BlobProgress,
    BlobRef,
    Chunk,
    Heartbeat,
    ShardNeeds,
    ShardPart,
    decode,
    encode,
)
from edge_client.protocol.shards import pack_list, pack_shard, unpack_mask
from edge_client.protocol.topics import Topics

M = TypeVar("M")

CHUNK_BYTES = 4096


class FleetServer:
    """Talks to one device; what it hears is kept in `heard`, blobs it got in `blobs`."""

    def __init__(self, client: aiomqtt.Client, topics: Topics, device: str) -> None:
        self._client = client
        self._topics = topics
        self._device = device
        self._window: SendWindow | None = None
        self._assemblers: dict[str, Assembler] = {}
        self._changed = asyncio.Condition()
        self.chunk_bytes = CHUNK_BYTES
        self.heard: list[AnyMessage] = []
        self.heartbeats: list[Heartbeat] = []
        self.blobs: dict[str, bytes] = {}
        self.lose: Callable[[Chunk], bool] = lambda _: False
        self.shards: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.sent: list[Chunk] = []  # to the device alone: of lists and parts of shards
        self._offers: dict[str, tuple[bytes, SendWindow]] = {}

    async def listen(self) -> None:
        await self._client.subscribe(self._topics.all_to_server, qos=1)
        async for received in self._client.messages:
            message = decode(received.payload)
            async with self._changed:
                await self._take(message)
                self._changed.notify_all()

    def forget(self) -> None:
        """Lose all blobs, as a server does that was started again."""
        self._assemblers.clear()
        self.blobs.clear()

    async def say(self, message: AnyMessage) -> None:
        await self._client.publish(self._topics.to_device(self._device), encode(message), qos=1)

    async def hello(self, message: AnyMessage) -> None:
        await self._client.publish(self._topics.hello, encode(message), qos=1, retain=True)

    async def wait_for(self, kind: type[M], n: int = 1, timeout_s: float = 60) -> M:
        """The n-th message of this kind."""

        def found() -> list[M]:
            return [message for message in self.heard if isinstance(message, kind)]

        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: len(found()) >= n), timeout_s)
        return found()[n - 1]

    async def send_blob(self, blob: bytes, topic: str) -> BlobRef:
        """Send a blob in windows until the device has it."""
        ref = blob_ref(blob, self.chunk_bytes)
        window = self._window = SendWindow(ref, [self._device])
        while not window.done:
            for index in [*window.take(), *window.take_asked().get(self._device, ())]:
                chunk = cut(blob, ref, index)
                if not self.lose(chunk):
                    await self._client.publish(topic, encode(chunk), qos=1)
            async with self._changed:
                if not window.done:
                    await asyncio.wait_for(self._changed.wait(), 60)
        return ref

    def offer_shard(self, images: np.ndarray, labels: np.ndarray) -> BlobRef:
        """Have these samples ready for the device, as it says that it lacks them; the name for a task."""
        ref = self._offer(pack_list(images, labels))
        self.shards[ref.digest] = (images, labels)
        return ref

    def _offer(self, blob: bytes) -> BlobRef:
        ref = blob_ref(blob, self.chunk_bytes)
        self._offers[ref.digest] = (blob, SendWindow(ref, [self._device], resumes=True))
        return ref

    async def _needed(self, needs: ShardNeeds) -> None:
        images, labels = self.shards[needs.shard]
        lacking = unpack_mask(needs.lacking, len(labels))
        if lacking.any():
            part = self._offer(pack_shard(images[lacking], labels[lacking]))
            samples = int(lacking.sum())
            await self.say(ShardPart(run=needs.run, round=needs.round, shard=needs.shard, samples=samples, part=part))

    async def _pump(self, progress: BlobProgress) -> None:
        blob, window = self._offers[progress.digest]
        window.heard(progress)
        for index in [*window.take(), *window.take_asked().get(self._device, ())]:
            chunk = cut(blob, window.ref, index)
            if not self.lose(chunk):
                self.sent.append(chunk)
                await self.say(chunk)

    async def _take(self, message: AnyMessage) -> None:
        match message:
            case Heartbeat():
                self.heartbeats.append(message)
            case BlobProgress() if message.digest in self._offers:
                await self._pump(message)
            case ShardNeeds() if message.shard in self.shards:
                self.heard.append(message)
                await self._needed(message)
            case BlobProgress():
                if self._window is not None:
                    self._window.heard(message)
            case Chunk():
                await self._collect(message)
            case _:
                self.heard.append(message)

    async def _collect(self, chunk: Chunk) -> None:
        assembler = self._assemblers.get(chunk.digest)
        if assembler is None:
            chunk_bytes = max(CHUNK_BYTES, len(chunk.data))
            assembler = self._assemblers[chunk.digest] = Assembler.from_chunk(chunk, chunk_bytes, 1 << 26)
        new = assembler.add(chunk)
        if assembler.complete:
            self.blobs[chunk.digest] = assembler.blob
        if assembler.complete or not new or assembler.received % 8 == 0:
            await self.say(assembler.progress("server"))
