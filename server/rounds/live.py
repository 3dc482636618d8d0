"""A fleet over MQTT: enrolment, profiles and rounds. The rules of a round are in state.py; this is its shell.

Everything that comes in is handled at once in the event loop; the methods only wait until enough has come in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import (
    AnyMessage,
    BlobProgress,
    Bye,
    Chunk,
    Heartbeat,
    Join,
    ProfileReport,
    ProfileRequest,
    Refusal,
    ServerHello,
    TaskClosed,
    Update,
    decode,
)
from edge_client.protocol.tasks import end
from edge_client.protocol.topics import Topics
from server.broker import BrokerAddress
from server.errors import BrokerError, FleetError
from server.rounds.blobs import Outgoing
from server.rounds.last_words import Earlier, why_not_counted
from server.rounds.link import Link
from server.rounds.round_run import RoundJob, RoundOutcome, RoundRun
from server.rounds.state import DeadlinePassed, GraceOver, LastWord, Refused

GRACE_S = 15.0
"""Seconds for last words after a round: a client closes its task at once, a slow link needs some more."""

GOODBYE_S = 3.0
"""Seconds for last words when the run is interrupted."""

Notify = Callable[..., None]
"""notify(kind, **fields): something happened."""


class LiveFleet:
    """The devices of one fleet, as messages tell of them. Made by `open_fleet`."""

    def __init__(self, topics: Topics, hello: ServerHello, notify: Notify, earlier: Earlier) -> None:
        self.joins: dict[str, Join] = {}
        self.online: set[str] = set()
        self._topics = topics
        self._hello = hello
        self._notify = notify
        self._earlier = earlier
        self._link: Link | None = None
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._profiles: dict[str, ProfileReport] = {}
        self._refusals: dict[str, str] = {}
        self._round: RoundRun | None = None  # the last one stays, to answer those who come too late
        self._stray: list[TaskClosed] = []
        self._outgoing = Outgoing(topics, self._send)

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
            self._say(device, request)

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
        current = self._round = RoundRun(job, self._say, self._notify)
        for device, task in job.tasks.items():
            self._say(device, task)
        self._outgoing.start(job.model, job.model_ref, job.tasks, job.quorum, job.shards_with_refs())
        try:
            if not await self._until(lambda: current.state.phase != "open", job.deadline_s):
                current.apply(DeadlinePassed())
            if not await self._until(lambda: current.state.phase == "closed", GRACE_S):
                current.apply(GraceOver())
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):  # interrupted: stop the devices, hear them out
                current.apply(DeadlinePassed("the run was interrupted"))
                await self._until(lambda: current.state.phase == "closed", GOODBYE_S)
            self._stray += [*current.state.closed, *current.state.stray]
            raise
        finally:
            current.over = True  # what comes from now on belongs to no record yet
            self._outgoing.stop()
        stray = (*self.take_stray(), *current.state.stray)
        return RoundOutcome(current.state, current.mean, stray, time.monotonic() - started)

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

    def _send(self, topic: str, message: AnyMessage, *, retain: bool = False) -> None:
        if self._link is None:
            raise RuntimeError("the fleet is not connected")
        self._link.send(topic, message, retain=retain)

    def _say(self, device: str, message: AnyMessage) -> None:
        self._send(self._topics.to_device(device), message)

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
                if self._of_this_run(message):
                    self._profiles[device] = message
            case Heartbeat():
                if device in self.joins:
                    self._notify("heartbeat", message=message)
            case BlobProgress():
                self._outgoing.heard(device, message)
            case Chunk():
                self._current().heard_chunk(device, message)
            case Update():
                self._notify("update", message=message)
                self._current().heard_update(message)
            case TaskClosed():
                self._heard_last_word(message)
            case Refusal():
                self._heard_refusal(message)
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
        current = self._round
        if again and current is not None and not current.over and join.device in current.state.silent:
            # It may have come back without the task; with it, the repetition changes nothing.
            self._say(join.device, current.job.tasks[join.device])

    def _heard_last_word(self, closed: TaskClosed) -> None:
        if why := why_not_counted(closed, self._hello.run, self.joins.keys(), self._earlier):
            self._notify("not-counted", device=closed.device, run=closed.run, round=closed.round, reason=why)
            return
        self._notify("task-closed", message=closed)
        if self._round is None or self._round.over:
            self._stray.append(closed)
        else:
            self._round.apply(LastWord(closed))

    def _of_this_run(self, message: ProfileReport | Refusal) -> bool:
        """Whether it answers us; what was said to an earlier server is noted, and answers nothing here."""
        if message.run == self._hello.run:
            return True
        what = type(message).__name__
        self._notify("of-another-run", device=message.device, run=message.run, message=what)
        return False

    def _heard_refusal(self, refusal: Refusal) -> None:
        if not self._of_this_run(refusal):
            return
        self._notify("refusal", device=refusal.device, round=refusal.round, reason=refusal.reason)
        if refusal.round is None:
            self._refusals[refusal.device] = refusal.reason
        elif self._round is not None and refusal.round == self._round.job.round:
            self._round.apply(Refused(refusal.device, refusal.reason))

    def _current(self) -> RoundRun:
        if self._round is None:
            raise ProtocolError("no round has begun yet")
        return self._round

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


@asynccontextmanager
async def open_fleet(
    address: BrokerAddress,
    fleet: str,
    hello: ServerHello,
    notify: Notify,
    earlier: Earlier | None = None,
    keep: Callable[[Iterable[TaskClosed]], None] | None = None,
) -> AsyncIterator[LiveFleet]:
    """Connect, greet the fleet, and say good-bye on the way out, whatever the way.

    `earlier` is None for a first attempt; `keep` gets, at the very end, the last words that nobody has taken.
    """
    topics = Topics(fleet)
    live = LiveFleet(topics, hello, notify, earlier or Earlier())
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
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await link.drained()
        await end(serving)
        if keep is not None:
            keep(live.take_stray())
