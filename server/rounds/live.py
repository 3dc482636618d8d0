"""A fleet over MQTT: enrolment, profiles and rounds. The rules of a round are in state.py; this is its shell.

Everything that comes in is handled at once in the event loop; the methods only wait until enough has come in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.graphs import RUNTIMES, Runtime
from edge_client.protocol.messages import (
    AnyMessage,
    BlobProgress,
    Bye,
    Chunk,
    GraphOffer,
    Heartbeat,
    Join,
    ProfileReport,
    ProfileRequest,
    Refusal,
    ServerHello,
    ShardNeeds,
    Task,
    TaskClosed,
    Update,
    decode,
)
from edge_client.protocol.tasks import end
from edge_client.protocol.topics import Topics
from server.broker import BrokerAddress
from server.errors import BrokerError
from server.rounds.blobs import Outgoing
from server.rounds.last_words import Earlier, why_not_counted
from server.rounds.link import Link
from server.rounds.roster import Notify, Roster
from server.rounds.round_run import RoundJob, RoundOutcome, RoundRun
from server.rounds.state import DeadlinePassed, GraceOver, LastWord, Refused
from server.rounds.waiting import Waiting

GRACE_S = 15.0
"""Seconds for last words after a round: a client closes its task at once, a slow link needs some more."""

GOODBYE_S = 3.0
"""Seconds for last words when the run is interrupted."""


class LiveFleet:
    """The devices of one fleet, as messages tell of them. Made by `open_fleet`."""

    def __init__(self, topics: Topics, hello: ServerHello, notify: Notify, earlier: Earlier) -> None:
        self._topics = topics
        self._hello = hello
        self._notify = notify
        self._earlier = earlier
        self._roster = Roster(hello, notify)
        self._waiting = Waiting()
        self._link: Link | None = None
        self._round: RoundRun | None = None  # the last one stays, to answer those who come too late
        self._stray: list[TaskClosed] = []
        self._outgoing = Outgoing(topics, self._send, self.fail)
        self._offers: dict[Runtime, GraphOffer] | None = None  # until they are made

    # ---- what the pipeline calls ---------------------------------------------------------------------------------

    async def enrol(self, n_devices: int, timeout_s: float, ids: frozenset[str] = frozenset()) -> tuple[Join, ...]:
        """Wait for the devices `ids`, or for any `n_devices`; raises FleetError when they do not come."""
        roster = self._roster
        if not await self._waiting.until(lambda: roster.enough(n_devices, ids), timeout_s):
            raise roster.too_few(n_devices, ids, timeout_s)
        chosen = sorted(ids) or list(roster.joins)[:n_devices]
        return tuple(roster.joins[device] for device in sorted(chosen))

    def offer(self, graphs: Mapping[Runtime, bytes], chunk_bytes: int) -> None:
        """The bundles of graphs for each runtime, from now on: requests and tasks name them, devices fetch them."""
        self._offers = {
            runtime: GraphOffer(runtime=runtime, graphs=blob_ref(blob, chunk_bytes)) for runtime, blob in graphs.items()
        }
        for runtime, offer in self._offers.items():
            self._outgoing.stand(graphs[runtime], offer.graphs)

    def notice(self, kind: str, **fields: object) -> None:
        """Put something on record."""
        self._notify(kind, **fields)

    async def profile(self, requests: Mapping[str, ProfileRequest], timeout_s: float) -> dict[str, ProfileReport]:
        """Have devices measured, all at once: each board owns its share of whatever it runs on."""
        self._roster.forget_answers(requests)
        for device, request in requests.items():
            self._say(device, request)
        await self._waiting.until(lambda: self._roster.answered(requests), timeout_s)
        return self._roster.profiles_of(requests, timeout_s)

    async def run_round(self, job: RoundJob) -> RoundOutcome:
        """Send tasks and model out, collect updates until the round is closed."""
        started = time.monotonic()
        current = self._round = RoundRun(job, self._say, self._notify)
        for device, task in job.tasks.items():
            self._say(device, task)
        self._outgoing.start(job.model, job.model_ref, job.tasks, job.quorum, job.shards_with_refs())
        try:
            if not await self._waiting.until(lambda: current.state.phase != "open", job.deadline_s):
                current.apply(DeadlinePassed())
            if not await self._waiting.until(lambda: current.state.phase == "closed", GRACE_S):
                current.apply(GraceOver())
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):  # interrupted: stop the devices, hear them out
                current.apply(DeadlinePassed("the run was interrupted"))
                await self._waiting.until(lambda: current.state.phase == "closed", GOODBYE_S)
            self._stray += [*current.state.closed, *current.state.stray]
            raise
        finally:
            current.over = True  # what comes from now on belongs to no record yet
            self._outgoing.stop()
        stray = (*self.take_stray(), *current.state.stray)
        samples = self._outgoing.samples_sent()
        return RoundOutcome(current.state, current.mean, stray, time.monotonic() - started, samples)

    def take_stray(self) -> tuple[TaskClosed, ...]:
        """Last words that no outcome has handed out; afterwards they are gone from here."""
        stray = tuple(self._stray)
        self._stray.clear()
        return stray

    def fail(self, error: Exception) -> None:
        """Something outside that the fleet stands on is gone: whoever waits gets this error."""
        self._waiting.fail(error)

    # ---- sending -------------------------------------------------------------------------------------------------

    def _send(self, topic: str, message: AnyMessage, *, retain: bool = False) -> None:
        if self._link is None:
            raise RuntimeError("the fleet is not connected")
        self._link.send(topic, message, retain=retain)

    def _say(self, device: str, message: AnyMessage) -> None:
        if isinstance(message, ProfileRequest | Task):
            join = self._roster.joins.get(device)
            able = () if join is None else join.capabilities.runtimes
            offers = tuple(offer for runtime, offer in (self._offers or {}).items() if runtime in able)
            message = msgspec.structs.replace(message, graphs=offers)
        self._send(self._topics.to_device(device), message)

    # ---- receiving -----------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._send(self._topics.hello, self._hello, retain=True)

    def _received(self, topic: str, payload: bytes) -> None:
        """Anything that comes in; what breaks the contract is noted and dropped, never answered with a crash."""
        try:
            device = self._topics.device_of(topic)
            if topic == self._topics.online(device):
                self._roster.heard_online(device, payload == b"1")
            else:
                self._heard(device, decode(payload))
        except ProtocolError as error:
            self._notify("protocol-error", topic=topic, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug here must end the run, not the connection's callback
            self.fail(error)
        self._waiting.changed()

    def _heard(self, device: str, message: AnyMessage) -> None:
        named = getattr(message, "device", getattr(message, "sender", device))
        if named != device:
            raise ProtocolError(f"a message of {named} came from {device}")
        match message:
            case Join():
                self._heard_join(message)
            case ProfileReport():
                self._roster.heard_profile(message)
            case Heartbeat():
                if device in self._roster.joins:
                    self._notify("heartbeat", message=message)
            case BlobProgress():
                self._outgoing.heard(device, message)
            case ShardNeeds():
                if self._is_of_round(message):
                    self._outgoing.needed(message)
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
        again = self._roster.heard_join(join)
        able = join.capabilities.runtimes
        by_graphs = set(able) & set(RUNTIMES)
        if self._offers is not None and by_graphs and "torch" not in able and not by_graphs & self._offers.keys():
            self._notify(
                "no-graphs",
                device=join.device,
                runtime=", ".join(able),
                reason="graphs were made for what the devices had when the run began; resume it to have others made",
            )
        current = self._round
        if again and current is not None and not current.over and join.device in current.state.silent:
            # It may have come back without the task; with it, the repetition changes nothing.
            self._say(join.device, current.job.tasks[join.device])

    def _heard_last_word(self, closed: TaskClosed) -> None:
        if why := why_not_counted(closed, self._hello.run, self._roster.joins.keys(), self._earlier):
            self._notify("not-counted", device=closed.device, run=closed.run, round=closed.round, reason=why)
            return
        self._notify("task-closed", message=closed)
        if self._round is None or self._round.over:
            self._stray.append(closed)
        else:
            self._round.apply(LastWord(closed))

    def _heard_refusal(self, refusal: Refusal) -> None:
        of_round = self._roster.heard_refusal(refusal)
        if of_round and self._round is not None and refusal.round == self._round.job.round:
            self._round.apply(Refused(refusal.device, refusal.reason))

    def _is_of_round(self, needs: ShardNeeds) -> bool:
        current = self._round
        return current is not None and (needs.run, needs.round) == (current.job.run, current.job.round)

    def _current(self) -> RoundRun:
        if self._round is None:
            raise ProtocolError("no round has begun yet")
        return self._round

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
