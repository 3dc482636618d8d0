"""A fleet over MQTT: enrolment, profiles and rounds. The rules of a round are in state.py; this is its shell.

Everything that comes in is handled at once in the event loop; the methods only wait until enough has come in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import (
    Abort,
    AnyMessage,
    BlobProgress,
    BlobRef,
    Bye,
    Chunk,
    Heartbeat,
    Join,
    ProfileReport,
    ProfileRequest,
    Refusal,
    ServerHello,
    Task,
    TaskClosed,
    Update,
    UpdateAck,
    decode,
)
from edge_client.protocol.topics import Topics
from edge_client.protocol.weights import Weights, check_like, unpack
from server.broker import BrokerAddress
from server.errors import BrokerError, FleetError
from server.rounds.aggregate import WeightedMean
from server.rounds.blobs import Incoming, Outgoing
from server.rounds.link import Link
from server.rounds.state import (
    Accept,
    Acknowledge,
    DeadlinePassed,
    Event,
    GraceOver,
    LastWord,
    Refused,
    RoundState,
    Stop,
    UpdateArrived,
    open_round,
    step,
)

GRACE_S = 15.0
"""Seconds for last words after a round; a client kills a stuck trainer after 3 s, a slow link needs some more."""

GOODBYE_S = 3.0
"""Seconds for last words when the run is interrupted."""

Notify = Callable[..., None]
"""notify(kind, **fields): something happened."""


@dataclass(frozen=True)
class RoundJob:
    """A round to run: a task for each device, the global model and its bytes, and the shards that go with tasks."""

    run: str
    round: int
    tasks: Mapping[str, Task]
    weights: Weights
    model: bytes
    shards: Mapping[str, bytes]
    quorum: int
    deadline_s: float


@dataclass(frozen=True)
class RoundOutcome:
    """What came of it: the final state, the mean change, last words on earlier rounds, wall seconds."""

    state: RoundState
    mean: WeightedMean
    stray: tuple[TaskClosed, ...]
    duration_s: float


class LiveFleet:
    """The devices of one fleet, as messages tell of them. Made by `open_fleet`."""

    def __init__(self, topics: Topics, hello: ServerHello, notify: Notify) -> None:
        self.joins: dict[str, Join] = {}
        self.online: set[str] = set()
        self._topics = topics
        self._hello = hello
        self._notify = notify
        self._link: Link | None = None
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._profiles: dict[str, ProfileReport] = {}
        self._refusals: dict[str, str] = {}
        self._job: RoundJob | None = None
        self._round: RoundState | None = None
        self._mean: WeightedMean | None = None
        self._stray: list[TaskClosed] = []
        self._outgoing = Outgoing(topics, self._send)
        self._incoming = Incoming(lambda device, word: self._send(topics.to_device(device), word))
        self._change: Weights | None = None

    # ---- what the pipeline calls ---------------------------------------------------------------------------------

    async def enrol(self, n_devices: int, timeout_s: float, ids: frozenset[str] = frozenset()) -> tuple[Join, ...]:
        """Wait for the devices `ids`, or for any `n_devices`; raises FleetError when they do not come."""

        def enough() -> bool:
            return ids <= self.joins.keys() and len(self.joins) >= n_devices

        if not await self._until(enough, timeout_s):
            missing = sorted(ids - self.joins.keys())
            raise FleetError(
                f"{len(self.joins)} of {n_devices} devices joined within {timeout_s:g} s"
                + (f"; missing: {', '.join(missing)}" if missing else "")
                + "".join(f"; {device} refused: {reason}" for device, reason in self._refusals.items())
            )
        chosen = sorted(ids) or list(self.joins)[:n_devices]
        return tuple(self.joins[device] for device in sorted(chosen))

    async def profile(self, requests: Mapping[str, ProfileRequest], timeout_s: float) -> dict[str, ProfileReport]:
        """Have devices measured, all at once: each board owns its share of whatever it runs on."""
        for device in requests:
            self._profiles.pop(device, None)
            self._refusals.pop(device, None)
        for device, request in requests.items():
            self._send(self._topics.to_device(device), request)

        def settled() -> bool:
            return all(device in self._profiles or device in self._refusals for device in requests)

        in_time = await self._until(settled, timeout_s)
        for device in sorted(requests):
            if device in self._refusals:
                raise FleetError(f"{device} cannot be measured: {self._refusals[device]}")
        if not in_time:
            late = sorted(requests.keys() - self._profiles.keys())
            raise FleetError(f"no profile within {timeout_s:.0f} s from {', '.join(late)}")
        return {device: self._profiles[device] for device in requests}

    async def run_round(self, job: RoundJob) -> RoundOutcome:
        """Send tasks and model out, collect updates until the round is closed."""
        started = time.monotonic()
        self._job = job
        self._mean = WeightedMean(job.weights)
        self._round = open_round(job.run, job.round, frozenset(job.tasks), job.quorum)
        self._incoming.clear()
        for device, task in job.tasks.items():
            self._send(self._topics.to_device(device), task)
        shards = {device: (blob, _shard_ref(job.tasks[device])) for device, blob in job.shards.items()}
        self._outgoing.start(job.model, next(iter(job.tasks.values())).model, job.tasks, job.quorum, shards)
        try:
            if not await self._until(lambda: self._state.phase != "open", job.deadline_s):
                self._apply(DeadlinePassed())
            if not await self._until(lambda: self._state.phase == "closed", GRACE_S):
                self._apply(GraceOver())
        except asyncio.CancelledError:
            await self._say_goodbye()
            raise
        finally:
            # Kept apart from the round: what comes from now on belongs to no record yet.
            state, self._round = self._state, None
            self._outgoing.stop()
        outcome = RoundOutcome(state, self._mean, (*self._stray, *state.stray), time.monotonic() - started)
        self._stray.clear()
        return outcome

    def take_stray(self) -> tuple[TaskClosed, ...]:
        """Last words that no outcome has handed out; afterwards they are gone from here."""
        stray = tuple(self._stray)
        self._stray.clear()
        return stray

    def fail(self, error: Exception) -> None:
        """Something outside that the fleet stands on is gone: whoever waits gets this error."""
        self._failure = error
        self._changed.set()

    # ---- sending -------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> RoundState:
        if self._round is None:
            raise RuntimeError("no round is under way")
        return self._round

    def _send(self, topic: str, message: AnyMessage, *, retain: bool = False) -> None:
        if self._link is None:
            raise RuntimeError("the fleet is not connected")
        self._link.send(topic, message, retain=retain)

    async def _say_goodbye(self) -> None:
        """Interrupted: stop the devices and keep what they say about it."""
        self._apply(DeadlinePassed("the run was interrupted"))
        await self._until(lambda: self._state.phase == "closed", GOODBYE_S)
        self._stray += [*self._state.closed, *self._state.stray]

    # ---- receiving -----------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._send(self._topics.hello, self._hello, retain=True)

    def _received(self, topic: str, payload: bytes) -> None:
        """Anything that comes in; what breaks the contract is noted and dropped, never answered with a crash."""
        try:
            device = self._topics.device_of(topic)
            if topic == self._topics.online(device):
                self._heard_online(device, payload == b"1")
            else:
                self._heard(device, decode(payload))
        except ProtocolError as error:
            self._notify("protocol-error", topic=topic, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug here must end the run, not the connection's callback
            self._failure = error
        self._changed.set()

    def _heard_online(self, device: str, online: bool) -> None:
        if online != (device in self.online):
            self._notify("online" if online else "offline", device=device)
        (self.online.add if online else self.online.discard)(device)

    def _heard(self, device: str, message: AnyMessage) -> None:
        named = getattr(message, "device", getattr(message, "sender", device))
        if named != device:
            raise ProtocolError(f"a message of {named} came from {device}")
        match message:
            case Join():
                self._heard_join(message)
            case ProfileReport():
                self._profiles[device] = message
            case Heartbeat():
                self._notify("heartbeat", message=message)
            case BlobProgress():
                self._outgoing.heard(device, message)
            case Chunk():
                self._heard_chunk(device, message)
            case Update():
                self._notify("update", message=message)
                self._heard_update(message)
            case TaskClosed():
                self._notify("task-closed", message=message)
                self._apply(LastWord(message))
            case Refusal():
                self._notify("refusal", device=device, round=message.round, reason=message.reason)
                if message.round is None:
                    self._refusals[device] = message.reason
                elif self._round is not None and message.round == self._round.round:
                    self._apply(Refused(device, message.reason))
            case _:
                raise ProtocolError(f"{type(message).__name__} is no message for a server")

    def _heard_join(self, join: Join) -> None:
        n_classes = self._hello.network.n_classes
        if join.run != self._hello.run:
            return  # an answer to an earlier hello; the next one is on its way
        if len(join.label_counts) != n_classes:
            self._notify(
                "left-out", device=join.device, reason=f"{len(join.label_counts)} classes instead of {n_classes}"
            )
            return
        if sum(join.label_counts) == 0:
            self._notify("left-out", device=join.device, reason="it has no samples")
            return
        again = join.device in self.joins
        self.joins[join.device] = join
        self._notify("rejoined" if again else "joined", device=join.device, board=join.capabilities.board)
        if again and self._round is not None and join.device in self._round.silent and self._job is not None:
            # It may have come back without the task; with it, the repetition changes nothing.
            self._send(self._topics.to_device(join.device), self._job.tasks[join.device])

    def _heard_chunk(self, device: str, chunk: Chunk) -> None:
        job, state = self._job, self._round
        if job is None or device not in job.tasks:
            raise ProtocolError(f"chunk {chunk.index} of {chunk.digest[:12]} came from {device}, which has no task")
        inbox = self._topics.to_device(device)
        if state is None or (state.phase != "open" and device not in state.verdicts):
            self._send(inbox, Abort(run=job.run, round=job.round, reason="the round is over"))
            return
        if device in state.verdicts:
            done = BlobProgress(sender="server", digest=chunk.digest, received=chunk.count, complete=True)
            self._send(inbox, done)
            return
        self._incoming.add(device, chunk, job.tasks[device].chunk_bytes, 2 * len(job.model))
        self._judge(device)

    def _heard_update(self, update: Update) -> None:
        state, device = self._round, update.device
        if state is None or self._job is None:
            late = UpdateAck(run=update.run, round=update.round, status="late", reason="no round is under way")
            self._send(self._topics.to_device(device), late)
            return
        ours = (update.run, update.round) == (state.run, state.round) and device in state.devices
        if not ours or state.phase != "open" or device in state.verdicts:
            self._apply(UpdateArrived(update))
            return
        self._incoming.announce(update)
        self._judge(device)

    def _judge(self, device: str) -> None:
        """Hand a device's update to the round once it is announced and all here."""
        update = self._incoming.ready(device)
        if update is not None:
            self._apply(UpdateArrived(update, self._open(self._incoming.take(device))))

    def _open(self, blob: bytes) -> str:
        """Unpack a change for the moment it is accepted; returns what is wrong with it, "" for nothing."""
        if self._job is None:
            raise RuntimeError("no round is under way")
        try:
            change = unpack(blob)
            check_like(change, self._job.weights)
        except ProtocolError as error:
            return str(error)
        self._change = change
        return ""

    def _average(self, update: Update) -> None:
        """Its weight is the number of samples the *server* gave the device: a device cannot make itself heavier."""
        if self._job is None or self._mean is None or self._change is None:
            raise RuntimeError("nothing to average")
        task = self._job.tasks[update.device]
        self._mean.add(self._change, task.local_samples + task.synth_samples)
        self._change = None

    def _apply(self, event: Event) -> None:
        """Step the round's machine and do what it commands."""
        if self._round is None:
            if isinstance(event, LastWord):
                self._stray.append(event.closed)
            return
        self._round, commands = step(self._round, event)
        for command in commands:
            match command:
                case Accept():
                    self._average(command.update)
                case Acknowledge():
                    self._acknowledge(command)
                case Stop():
                    for device in command.devices:
                        abort = Abort(run=self._round.run, round=self._round.round, reason=command.reason)
                        self._send(self._topics.to_device(device), abort)
        self._changed.set()

    def _acknowledge(self, command: Acknowledge) -> None:
        ack = UpdateAck(run=command.run, round=command.round, status=command.verdict, reason=command.reason)
        self._send(self._topics.to_device(command.device), ack)
        self._notify("verdict", device=command.device, round=command.round, verdict=command.verdict)

    # ---- waiting -------------------------------------------------------------------------------------------------

    async def _until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `reached()`; False after `timeout_s`. Raises what ended the connection."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._failure is not None:
                        raise self._failure
                    if reached():
                        return True
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False

    def _link_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            error = task.exception()
            self.fail(error if isinstance(error, Exception) else BrokerError("the connection has ended"))


def _shard_ref(task: Task) -> BlobRef:
    if task.shard is None:
        raise ValueError("a shard came without a task that names it")
    return task.shard


@asynccontextmanager
async def open_fleet(
    address: BrokerAddress, fleet: str, hello: ServerHello, notify: Notify
) -> AsyncIterator[LiveFleet]:
    """Connect, greet the fleet, and say good-bye on the way out, whatever the way."""
    topics = Topics(fleet)
    live = LiveFleet(topics, hello, notify)
    link = Link(address, topics, hello.run, live._received, live._connected)
    live._link = link
    serving = asyncio.create_task(link.serve())
    serving.add_done_callback(live._link_ended)
    reason = "the run is over"
    try:
        yield live
    except BaseException as error:
        reason = f"the run was ended: {type(error).__name__}"
        raise
    finally:
        if not serving.done():
            link.send(topics.hello, Bye(run=hello.run, reason=reason), retain=True)
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await link.drained()
            except TimeoutError:
                pass
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
