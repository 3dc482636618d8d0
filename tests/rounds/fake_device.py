"""A device without hardware, training or patience: it keeps the protocol, or breaks it where a test says so."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

import aiomqtt
import numpy as np

from edge_client.protocol import shards
from edge_client.protocol.chunks import ACK_EVERY, Assembler, SendWindow, blob_ref, cut
from edge_client.protocol.messages import (
    Abort,
    AnyMessage,
    BlobProgress,
    BlobRef,
    Capabilities,
    Chunk,
    EnergyReading,
    Join,
    OppPoint,
    ProfileReport,
    ProfileRequest,
    RadioOutcome,
    Refusal,
    SegmentOutcome,
    ServerHello,
    ShardNeeds,
    ShardPart,
    Task,
    TaskClosed,
    Update,
    UpdateAck,
    UploadOutcome,
    decode,
    encode,
)
from edge_client.protocol.topics import Topics
from edge_client.protocol.weights import pack, unpack


def reading(energy_j: float = 12.0, duration_s: float = 2.0) -> EnergyReading:
    """12 J in 2 s over 2 W idle: 8 J added."""
    return EnergyReading(
        energy_j=energy_j,
        duration_s=duration_s,
        idle_power_w=2.0,
        source="measured",
        boundary="board",
        meter="fake",
        uncertainty=0.01,
        samples=20,
    )


def join_of(device: str, run: str, label_counts: tuple[int, ...]) -> Join:
    return Join(
        device=device,
        run=run,
        label_counts=label_counts,
        storage_samples=100,
        capabilities=Capabilities(
            board="fake",
            opps_hz=(0.5e9, 1.0e9, 1.5e9),
            meter="fake",
            meter_source="measured",
            boundary="board",
            tx_power="unsupported",
            runtimes=("fake",),
            cores=1,
        ),
        client_version="0",
    )


def profile_of(device: str, run: str, freqs_hz: tuple[float, ...], *, starved: bool = False) -> ProfileReport:
    """1e7 cycles a sample at 1 W + (f/GHz)**3 W above 2 W idle; asked for no clock, the board runs at 1 GHz."""
    points = tuple(
        OppPoint(
            freq_hz=f if freqs_hz else None,
            verified_hz=f if freqs_hz else None,
            s_per_sample=1e7 / f,
            j_per_sample=(3.0 + (f / 1e9) ** 3) * 1e7 / f,
            samples=100,
            duration_s=4.0,
            uncertainty=0.01,
            starved=starved,
        )
        for f in freqs_hz or (1e9,)
    )
    return ProfileReport(device=device, run=run, idle=reading(), points=points)


def update_of(task: Task, device: str, weights: BlobRef) -> Update:
    segment = task.segments[0]
    return Update(
        device=device,
        run=task.run,
        round=task.round,
        weights=weights,
        samples=sum(s.samples for s in task.segments),
        train_loss=1.0,
        segments=(
            SegmentOutcome(
                requested_hz=segment.freq_hz,
                accepted_hz=segment.freq_hz,
                verified_hz=None,
                violation_s=0.0,
                samples=segment.samples,
                duration_s=2.0,
                energy=reading(),
                starved=False,
                throttled=None,
            ),
        ),
        compute=reading(),
        upload=UploadOutcome(
            bits=8 * weights.size_bytes,
            duration_s=0.5,
            energy=reading(2.0, 0.5),
            radio=RadioOutcome(requested_w=None, accepted_w=None, capability="unsupported"),
        ),
    )


def closed_of(task: Task, device: str, outcome: str = "done") -> TaskClosed:
    return TaskClosed(
        device=device,
        run=task.run,
        round=task.round,
        outcome=outcome,
        reason="",
        energy=reading(),
        samples_trained=1,
        bytes_sent=1,
        bytes_received=1,
    )


@dataclass
class FakeDevice:
    """Runs until cancelled. `change` is what every weight moves by; `silent` trains and sends nothing."""

    device: str
    fleet: str
    port: int
    label_counts: tuple[int, ...] = (3, 1)
    change: float = 1.0
    silent: bool = False
    refuse: bool = False
    starve_once: bool = False
    lose: set[int] = field(default_factory=set)  # indices of model chunks that are "lost" the first time
    twice: bool = False  # every Update is sent twice
    wrong_shape: bool = False
    close: bool = True  # says a last word
    acks: list[UpdateAck] = field(default_factory=list)
    aborts: list[Abort] = field(default_factory=list)
    shards: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)  # how many samples it said it lacks, each time it was asked
    chunks_received: int = 0
    task: Task | None = None
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        topics = Topics(self.fleet)
        nodelay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        async with aiomqtt.Client(
            "127.0.0.1", self.port, protocol=aiomqtt.ProtocolVersion.V5, socket_options=nodelay
        ) as client:
            self._client, self._topics = client, topics
            self._assemblers: dict[str, Assembler] = {}
            self._blobs: dict[str, bytes] = {}
            self._samples: dict[int, tuple[np.ndarray, int]] = {}
            self._needs = False
            self._part: BlobRef | None = None
            self._window: SendWindow | None = None
            for topic in (topics.to_device(self.device), topics.model, topics.hello):
                await client.subscribe(topic, qos=1)
            await client.publish(topics.online(self.device), b"1", qos=1, retain=True)
            async for message in client.messages:
                await self._heard(decode(message.payload))

    async def _send(self, message: AnyMessage) -> None:
        await self._client.publish(self._topics.to_server(self.device), encode(message), qos=1)

    async def _heard(self, message: AnyMessage) -> None:
        match message:
            case ServerHello():
                await self._send(join_of(self.device, message.run, self.label_counts))
            case ProfileRequest():
                report = profile_of(self.device, message.run, message.freqs_hz, starved=self.starve_once)
                self.starve_once = False
                await self._send(report)
            case Task():
                await self._begin(message)
            case ShardPart():
                self._part = message.part
                await self._expect(message.part)
            case Chunk():
                await self._chunk(message)
            case BlobProgress() if self._window is not None:
                self._window.heard(message)
                await self._upload()
            case UpdateAck():
                self.acks.append(message)
                if self.close and self.task is not None and len(self.acks) == 1 + self.twice:
                    await self._send(closed_of(self.task, self.device))
            case Abort():
                self.aborts.append(message)
                if self.close and self.task is not None:
                    await self._send(closed_of(self.task, self.device, "aborted"))

    async def _begin(self, task: Task) -> None:
        self.task = task
        self.seen.set()
        self.acks.clear()
        if self.refuse:
            await self._send(Refusal(device=self.device, run=task.run, round=task.round, reason="not today"))
            return
        self._needs = task.shard is not None
        if task.model.digest not in self._blobs:
            self._assemblers[task.model.digest] = Assembler(task.model)
        else:
            await self._have(task.model)
        if task.shard is not None:
            if task.shard.digest in self._blobs:
                await self._have(task.shard)
                await self._ask()
            else:
                await self._expect(task.shard)
        await self._train_if_all_here()

    async def _have(self, ref: BlobRef) -> None:
        await self._send(BlobProgress(sender=self.device, digest=ref.digest, received=1, complete=True))

    async def _expect(self, ref: BlobRef) -> None:
        """A blob whose sender waits to hear what of it is here: nothing."""
        assembler = self._assemblers[ref.digest] = Assembler(ref)
        await self._send(assembler.progress(self.device, stalled=True))

    async def _ask(self) -> None:
        """Say which samples of the task's list are not here."""
        assert self.task is not None and self.task.shard is not None
        listing = shards.unpack_list(self._blobs[self.task.shard.digest])
        lacking = np.array([int(name) not in self._samples for name in listing.names])
        lacking &= listing.distinct()
        self.asked.append(int(lacking.sum()))
        self._needs = bool(lacking.any())
        needs = ShardNeeds(
            device=self.device,
            run=self.task.run,
            round=self.task.round,
            shard=self.task.shard.digest,
            lacking=shards.pack_mask(lacking),
        )
        await self._send(needs)

    async def _train_if_all_here(self) -> None:
        if not self._assemblers and not self._needs and not self.silent:
            await self._train()

    async def _chunk(self, chunk: Chunk) -> None:
        self.chunks_received += 1
        assembler = self._assemblers.get(chunk.digest)
        if assembler is None:
            return
        if self.task is not None and chunk.digest == self.task.model.digest and chunk.index in self.lose:
            self.lose.discard(chunk.index)
            return
        new = assembler.add(chunk)
        last = chunk.index == chunk.count - 1
        if not new or assembler.complete or assembler.received % ACK_EVERY == 0 or last:
            await self._send(assembler.progress(self.device, stalled=last))
        if assembler.complete:
            self._blobs[chunk.digest] = assembler.blob
            del self._assemblers[chunk.digest]
            assert self.task is not None
            if self.task.shard is not None and chunk.digest == self.task.shard.digest:
                await self._ask()
            elif self._part is not None and chunk.digest == self._part.digest:
                images, labels = shards.unpack_shard(assembler.blob)
                samples = zip(images, labels.tolist(), strict=True)
                self._samples.update(zip(shards.sample_names(images, labels).tolist(), samples, strict=True))
                self._needs = False
            await self._train_if_all_here()

    async def _train(self) -> None:
        assert self.task is not None
        if self.task.shard is not None:
            names = shards.unpack_list(self._blobs[self.task.shard.digest]).names.tolist()
            mine = [self._samples[name] for name in names]
            self.shards.append((np.stack([x for x, _ in mine]), np.array([y for _, y in mine])))
        model = unpack(self._blobs[self.task.model.digest])
        moved = {name: np.full_like(array, self.change) for name, array in model.items()}
        if self.wrong_shape:
            moved = {name: array.reshape(-1) for name, array in moved.items()}
        self._blob = pack(moved, "float16")
        self._ref = blob_ref(self._blob, self.task.chunk_bytes)
        self._window = SendWindow(self._ref, ["server"])
        await self._upload()

    async def _upload(self) -> None:
        assert self._window is not None and self.task is not None
        for index in (*self._window.take(), *self._window.take_asked().get("server", ())):
            await self._send(cut(self._blob, self._ref, index))
        if self._window.done:
            self._window = None
            for _ in range(1 + self.twice):
                await self._send(update_of(self.task, self.device, self._ref))
