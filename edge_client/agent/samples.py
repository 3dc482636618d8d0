"""Sees that the synthetic samples of a task are on disk: exactly those, and only what lacked is sent.

    the task names a list -> the list, where it is not the last one -> which of its samples are not in the store?
    -> room for them -> ShardNeeds -> ShardPart -> chunks -> into the store -> the digest of the whole set

The store is asked at every new list, and tells the server what it lacks; so a client that was started again, a board
whose card lost its samples, a server that was started again and another server all find their way without an account of
what was sent. What is interrupted begins again here, and comes to the same needs, for which equal bytes are sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_client.agent import partial
from edge_client.agent.collect import LONGEST_STALL_S, STALL_S, Collector
from edge_client.agent.partial import Partial
from edge_client.errors import StorageError
from edge_client.events import Device
from edge_client.protocol import shards
from edge_client.protocol.chunks import n_chunks
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobRef, ShardNeeds, ShardPart, Task
from edge_client.protocol.shards import Listing
from edge_client.protocol.tasks import in_thread
from edge_client.protocol.weights import digest
from edge_client.training.store import SampleStore, write_whole

log = logging.getLogger(__name__)


class Samples:
    """One device's synthetic samples, kept in `folder`. `say` posts to the server.

    `listing` is the list that was last fetched, packed; its samples are in the store.
    """

    def __init__(self, device: Device, folder: Path, collector: Collector, say: Callable[[ShardNeeds], None]) -> None:
        self.listing: bytes | None = None
        self._device = device.name
        self._store = SampleStore(folder, device.image_shape, device.storage_samples)
        self._folder = folder
        self._collector = collector
        self._say = say
        self._asked: ShardNeeds | None = None
        self._answer: asyncio.Future[ShardPart] | None = None
        self._sure: str | None = None  # the list whose samples were last found complete

    async def begin(self) -> None:
        """Let go of what the owner has no room for any more."""
        try:
            await in_thread(self._store.fit)
        except StorageError as error:
            log.warning("%s", error)

    def doubt(self) -> None:
        """Something went wrong: what is on disk is looked at again before it is relied on."""
        self._sure = None

    def heard(self, part: ShardPart) -> None:
        """The server's answer; one to an earlier question changes nothing."""
        asked, answer = self._asked, self._answer
        if asked is None or answer is None or answer.done():
            return
        if (part.run, part.round, part.shard) == (asked.run, asked.round, asked.shard):
            answer.set_result(part)

    async def fetch(self, task: Task) -> None:
        """See that all samples of the task's list are in the store.

        Raises ProtocolError where what comes is not what was asked for, StorageError where it cannot be kept.
        """
        assert task.shard is not None
        if task.shard.size_bytes != (right := shards.list_bytes(task.synth_samples)):
            raise ProtocolError(
                f"a list of {task.synth_samples} samples has {right} bytes, not {task.shard.size_bytes}"
            )
        self.listing = await self._list(task.shard)
        listing = shards.unpack_list(self.listing)
        if (len(listing.names), listing.shape) != (task.synth_samples, tuple(task.network.image_shape)):
            raise ProtocolError(
                f"the shard's list has {len(listing.names)} samples of {listing.shape}, the task says "
                f"{task.synth_samples} of {tuple(task.network.image_shape)}"
            )
        if self._sure == task.shard.digest:
            self._say(self._needs(task, np.zeros(len(listing.names), bool)))
            return
        await self._complete(task, listing, await in_thread(self._store.lacking, listing))
        if not await in_thread(self._store.holds, listing):
            log.warning("the samples on disk are not those of the task: all of them are asked for again")
            await in_thread(self._store.forget, listing.names.tolist())
            await self._complete(task, listing, listing.distinct())
            if not await in_thread(self._store.holds, listing):
                raise StorageError("the samples that came are not those of the task: their digest is another one")
        await in_thread(self._store.used, listing)
        self._sure = task.shard.digest

    async def _complete(self, task: Task, listing: Listing, lacking: np.ndarray) -> None:
        """Have the samples that lack sent, if any do."""
        needs = self._needs(task, lacking)
        if not lacking.any():
            self._say(needs)
            partial.remove(self._folder)
            return
        await in_thread(self._store.make_room, listing)
        part = await self._ask(needs)
        count, most = int(lacking.sum()), shards.most_bytes(listing.shape, int(lacking.sum()))
        if part.samples != count or part.part.size_bytes > most:
            raise ProtocolError(
                f"{count} samples were asked for, at most {most} bytes; {part.samples} come, in {part.part.size_bytes}"
            )
        log.info("%d of %d samples lack: %d bytes", count, len(listing.names), part.part.size_bytes)
        blob = await self._collector.collect(part.part, Partial(self._folder, part.part))
        images, labels = await in_thread(shards.unpack_shard, blob, shards.decoded_bytes(listing.shape, count))
        if images.shape[1:] != listing.shape or not np.array_equal(
            await in_thread(shards.sample_names, images, labels), listing.names[lacking]
        ):
            partial.remove(self._folder)
            raise ProtocolError("the samples that came are not those that were asked for")
        partial.remove(self._folder)  # before they are in the store: at no time is a sample on disk twice
        await in_thread(self._store.add, images, labels)

    def _needs(self, task: Task, lacking: np.ndarray) -> ShardNeeds:
        assert task.shard is not None
        return ShardNeeds(
            device=self._device,
            run=task.run,
            round=task.round,
            shard=task.shard.digest,
            lacking=shards.pack_mask(lacking),
        )

    async def _ask(self, needs: ShardNeeds) -> ShardPart:
        """Ask until there is an answer."""
        self._asked, self._answer = needs, asyncio.get_running_loop().create_future()
        wait_s = STALL_S
        try:
            while not self._answer.done():
                self._say(needs)
                await asyncio.wait({self._answer}, timeout=wait_s)
                wait_s = min(2 * wait_s, LONGEST_STALL_S)
            return self._answer.result()
        finally:
            self._asked = self._answer = None

    # ---- the list ----

    async def _list(self, ref: BlobRef) -> bytes:
        """The list of that digest: the last one is on disk."""
        path = self._folder / "samples.list"
        try:
            blob = path.read_bytes()
        except OSError:
            blob = b""
        if digest(blob) == ref.digest:
            self._collector.has(ref.digest, n_chunks(ref))
            return blob
        self._sure = None
        blob = await self._collector.collect(ref)
        write_whole(path, blob)
        return blob
