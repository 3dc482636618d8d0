"""One round over the wire: the shell of state.py, with the blobs that come in for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_client.protocol.chunks import LEAST_CHUNK_BYTES, SERVER, n_chunks
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import (
    Abort,
    AnyMessage,
    BlobProgress,
    BlobRef,
    Chunk,
    Task,
    TaskClosed,
    Update,
    UpdateAck,
)
from edge_client.protocol.weights import Weights, check_like, unpack
from server.records import SamplesSent
from server.rounds.aggregate import WeightedMean
from server.rounds.blobs import Incoming
from server.rounds.samples import Shard
from server.rounds.state import (
    Accept,
    Acknowledge,
    Event,
    RoundState,
    Stop,
    UpdateArrived,
    open_round,
    step,
)

_LARGEST = float(np.finfo(np.float16).max)

Say = Callable[[str, AnyMessage], None]
"""say(device, message): queue a message for a device."""


@dataclass(frozen=True)
class RoundJob:
    """A round to run: a task for each device, the global model and its bytes, and the shards that go with tasks."""

    run: str
    round: int
    tasks: Mapping[str, Task]
    weights: Weights
    model: bytes
    shards: Mapping[str, Shard]
    quorum: int
    deadline_s: float

    @property
    def model_ref(self) -> BlobRef:
        return next(iter(self.tasks.values())).model

    def shards_with_refs(self) -> dict[str, tuple[Shard, BlobRef]]:
        """By device: the shard and its list's name in the task."""
        named = {}
        for device, shard in self.shards.items():
            ref = self.tasks[device].shard
            if ref is None:
                raise ValueError(f"{device} has a shard but no task that names it")
            named[device] = (shard, ref)
        return named


@dataclass(frozen=True)
class RoundOutcome:
    """What came of it: the final state, the mean change, last words on earlier rounds, wall seconds, and what the
    synthetic samples took."""

    state: RoundState
    mean: WeightedMean
    stray: tuple[TaskClosed, ...]
    duration_s: float
    samples: tuple[SamplesSent, ...] = ()


class RoundRun:
    """Feeds a round's machine with what comes in and does what it commands."""

    def __init__(self, job: RoundJob, say: Say, notify: Callable[..., None]) -> None:
        self.job = job
        self.state = open_round(job.run, job.round, frozenset(job.tasks), job.quorum)
        self.mean = WeightedMean(job.weights)
        self.over = False
        self._say = say
        self._notify = notify
        self._incoming = Incoming(say)
        self._most_bytes = 2 * len(job.model)
        self._change: Weights | None = None

    def apply(self, event: Event) -> None:
        """Step the machine and do what it commands."""
        self.state, commands = step(self.state, event)
        for command in commands:
            match command:
                case Accept():
                    self._average(command.update)
                case Acknowledge():
                    self._acknowledge(command)
                case Stop():
                    for device in command.devices:
                        self._say(device, Abort(run=self.job.run, round=self.job.round, reason=command.reason))

    def heard_chunk(self, device: str, chunk: Chunk) -> None:
        """Part of an update. Raises ProtocolError from a device without a task, and for what cannot be."""
        task = self.job.tasks.get(device)
        if task is None:
            raise ProtocolError(f"chunk {chunk.index} of {chunk.digest[:12]} came from {device}, which has no task")
        if device in self.state.verdicts:
            self._say(device, BlobProgress(sender=SERVER, digest=chunk.digest, received=chunk.count, complete=True))
        elif self.over or self.state.phase != "open":
            self._say(device, Abort(run=self.job.run, round=self.job.round, reason="the round is over"))
        else:
            self._incoming.add(device, chunk, task.chunk_bytes, self._most_bytes)
            self._judge(device)

    def heard_update(self, update: Update) -> None:
        """The word that an update has been sent."""
        device = update.device
        expected = (update.run, update.round) == (self.job.run, self.job.round) and device in self.job.tasks
        if expected and self.state.phase == "open" and device not in self.state.verdicts:
            if fault := self._oversized(update.weights, self.job.tasks[device]):
                self._incoming.drop(device)
                self.apply(UpdateArrived(update, fault))
                return
            self._incoming.announce(update)
            self._judge(device)
        else:
            self.apply(UpdateArrived(update))

    def _oversized(self, ref: BlobRef, task: Task) -> str:
        """Why this can be no change of the model, before any of it is kept; "" for nothing."""
        if ref.size_bytes > self._most_bytes:
            return f"an update of {ref.size_bytes} bytes is larger than {self._most_bytes}, twice the model"
        least = min(LEAST_CHUNK_BYTES, task.chunk_bytes)
        if n_chunks(ref) > 1 and ref.chunk_bytes < least:
            return f"chunks of {ref.chunk_bytes} bytes are smaller than {least}"
        return ""

    def _judge(self, device: str) -> None:
        """Hand a device's update to the machine once it is announced and all here."""
        update = self._incoming.ready(device)
        if update is not None:
            self.apply(UpdateArrived(update, self._open(self._incoming.take(device))))

    def _open(self, blob: bytes) -> str:
        """Unpack a change for the moment it is accepted; returns what is wrong with it, "" for nothing."""
        try:
            change = unpack(blob)
            check_like(change, self.job.weights)
        except ProtocolError as error:
            return str(error)
        for name, array in change.items():
            # A client sends float16; a larger number in float32 could make the model's own sum infinite.
            if array.size and np.abs(array).max() > _LARGEST:
                return f"the change of {name!r} goes beyond {_LARGEST:.0f}, the largest number of an update"
        self._change = change
        return ""

    def _average(self, update: Update) -> None:
        """Its weight is the number of samples the *server* gave the device: a device cannot make itself heavier."""
        if self._change is None:
            raise RuntimeError("nothing to average")
        task = self.job.tasks[update.device]
        self.mean.add(self._change, task.local_samples + task.synth_samples)
        self._change = None

    def _acknowledge(self, command: Acknowledge) -> None:
        ack = UpdateAck(run=command.run, round=command.round, status=command.verdict, reason=command.reason)
        self._say(command.device, ack)
        self._notify("verdict", device=command.device, round=command.round, verdict=command.verdict)
