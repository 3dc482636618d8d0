"""The asyncio shell: turns messages, timers and finished work into events, and carries out the session's commands.

Events are taken one at a time. Only one piece of work runs at a time (a profile, a training, an upload), as a task that
`Drop` cancels; what it holds of the board is put back on the way out. Heartbeats are a task of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from pathlib import Path

from edge_client import session
from edge_client.agent import conditions
from edge_client.agent.books import Account
from edge_client.agent.collect import Collector, Received
from edge_client.agent.graphs import Graphs
from edge_client.agent.link import Link
from edge_client.agent.profiler import Profiler, obedience_of
from edge_client.agent.samples import Samples
from edge_client.agent.setup import Setup
from edge_client.agent.share import Share
from edge_client.agent.trainers import Trainers
from edge_client.agent.upload import Pacer, Uploader, chunk_bytes_at
from edge_client.agent.window import Journal
from edge_client.agent.work import Trained, Work
from edge_client.errors import FimiClientError, LinkError, TrainingError
from edge_client.events import (
    OTHERS,
    BlobReady,
    Close,
    Closed,
    Command,
    Connected,
    Disconnected,
    Drop,
    Event,
    Failed,
    Heard,
    Open,
    Profile,
    Profiled,
    Publish,
    Release,
    State,
    Stop,
    Tick,
    Train,
    Upload,
    Uploaded,
)
from edge_client.events import Trained as TrainedEvent
from edge_client.hardware.sampler import Sampler
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import (
    AnyMessage,
    BlobProgress,
    Chunk,
    Heartbeat,
    ProfileRequest,
    ShardPart,
    Task,
    TaskClosed,
    Update,
)
from edge_client.protocol.tasks import end, in_thread
from edge_client.training.model_file import keep_network
from edge_client.training.store import storing
from edge_client.training.worker_client import WorkerClient

log = logging.getLogger(__name__)

_TICK_S = 0.5
_FAREWELL_S = 3.0


class Shell:
    """One client. `run` ends after `stop`, with everything restored."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._name = setup.device.name
        self._state = State(setup.device)
        self._events: asyncio.Queue[Event | Received] = asyncio.Queue()
        self._link = Link(setup.line, self._on_message, self._on_line)
        self._inbox = setup.line.topics.to_device(self._name)
        sampler = Sampler(setup.board.meter, setup.meter_period_s)
        journal = Journal(setup.state_dir / "windows.jsonl")
        worker = WorkerClient(setup.threads)
        self._collector = Collector(self._name, setup.state_dir, self._link.post, self._on_blob)
        self._trainers = Trainers(setup, Graphs(setup.state_dir / "graphs", self._collector), worker)
        self._work = Work(self._name, setup.board, sampler, worker, journal, obedience_of(setup, self._trainers.likely))
        self._profiler = Profiler(setup, self._trainers, self._work)
        self._samples = Samples(setup.device, setup.state_dir, self._collector, self._link.post)
        self._running: asyncio.Task[None] | None = None
        self._uploader: Uploader | None = None
        self._trained: Trained | None = None
        self._sent: tuple[Path, int] | None = None  # the last update's file and chunk size, to send it again
        self._account: Account | None = None
        self._ended = asyncio.Event()

    def stop(self, reason: str) -> None:
        """Ask the client to end; safe to call from a signal handler of the loop."""
        self._events.put_nowait(Stop(reason))

    async def run(self) -> None:
        """Serve until stopped; raises LinkError where the broker will not be joined by trying again."""
        self._work.sampler.start()
        await self._samples.begin()
        link = asyncio.create_task(self._link.run())
        others = [asyncio.create_task(job()) for job in (self._take_events, self._beat, self._tick)]
        if (rules := self._setup.rules).any:
            watch = conditions.watch(self._setup.board, rules, self._events.put_nowait)
            others.append(asyncio.create_task(watch))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([link, ended, *others], return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.is_set():  # something broke: say what
                await asyncio.gather(*(job for job in (link, *others) if job.done()))
            await self._link.flushed(_FAREWELL_S)
        finally:
            await self._drop()
            await end(link, ended, *others)
            await self._work.worker.stop()
            self._work.sampler.stop()
            self._setup.board.restore()

    # ---- what comes in ----

    def _on_message(self, topic: str, message: AnyMessage) -> None:
        if isinstance(message, Chunk):  # in line with the events: the Task that names its blob comes before it
            self._events.put_nowait(Received(message, addressed=topic == self._inbox))
        elif isinstance(message, ShardPart):
            self._samples.heard(message)
        elif not isinstance(message, BlobProgress):
            battery_j = self._setup.board.battery_j() if isinstance(message, Task) else None
            self._events.put_nowait(Heard(message, battery_j))
        elif self._uploader is not None:
            try:
                self._uploader.heard(message)
            except ProtocolError as error:
                log.warning("%s", error)

    def _on_line(self, up: bool) -> None:
        self._events.put_nowait(Connected() if up else Disconnected())
        if not up:
            return
        self._collector.tick(time.monotonic(), reconnected=True)
        if self._uploader is not None:
            self._uploader.nudge()

    def _on_blob(self, digest: str) -> None:
        self._events.put_nowait(BlobReady(self._state.work, digest))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._collector.tick(time.monotonic())
            self._events.put_nowait(Tick())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._setup.heartbeat_s)
            await self._link.mention(
                Heartbeat(
                    device=self._name,
                    state=self._state.phase,
                    round=self._state.task.round if self._state.task else None,
                    samples_done=self._work.samples_done,
                    power_w=self._work.sampler.power_w(),
                    freq_hz=self._work.freq_hz,
                )
            )

    async def _take_events(self) -> None:
        while True:
            event = await self._events.get()
            if isinstance(event, Received):
                self._collector.add(event.chunk, time.monotonic(), addressed=event.addressed)
                continue
            await self._apply(event)
            if isinstance(event, Stop):
                self._ended.set()

    async def _apply(self, event: Event) -> None:
        before = self._state
        self._state, commands = session.step(self._state, event, time.monotonic())
        if self._state.phase != before.phase:
            log.info("%s -> %s", before.phase, self._state.phase)
        for command in commands:
            await self._do(command)

    # ---- what is to be done ----

    async def _do(self, command: Command) -> None:
        match command:
            case Publish(message):
                try:
                    self._link.post(message)
                except LinkError as error:
                    log.error("%s", error)
            case Profile(work, request):
                self._start(work, self._profile(work, request))
            case Open(work, task):
                self._open(work, task)
            case Train(work, task):
                self._start(work, self._train(work, task))
            case Upload(work, task, update):
                self._start(work, self._upload(work, task, update))
            case Drop():
                await self._drop()
            case Release():
                log.warning("the broker has been out of reach for the length of the lease: settings restored")
                self._work.release()
            case Close():
                await self._apply(Closed(self._close(command)))

    def _start(self, work: int, coroutine: Coroutine[None, None, None]) -> None:
        self._running = asyncio.create_task(coroutine)
        self._running.add_done_callback(lambda done: self._on_done(work, done))

    def _on_done(self, work: int, done: asyncio.Task[None]) -> None:
        if done.cancelled() or (error := done.exception()) is None:
            return
        expected = isinstance(error, FimiClientError | ProtocolError)
        log.error("the work failed: %s", error, exc_info=None if expected else error)
        self._samples.doubt()
        self._events.put_nowait(Failed(work, str(error) if expected else f"{type(error).__name__}: {error}"))

    async def _drop(self) -> None:
        running, self._running, self._uploader = self._running, None, None
        self._collector.forget()
        if running is not None:
            await end(running)

    def _open(self, work: int, task: Task) -> None:
        now = time.monotonic()
        self._account = Account.open(self._link, now)
        self._work.samples_done, self._work.leased = 0, True
        self._collector.want(task.model, now)
        self._start(work, self._fetch(work, task))

    def _close(self, close: Close) -> TaskClosed:
        now, account = time.monotonic(), self._account
        assert account is not None
        closed = account.close(close, self._link, self._work, now)
        self._account = None
        self._work.sampler.forget_before(now - 60)
        log.info("round %d: %s %s", close.task.round, close.outcome, close.reason)
        return closed

    # ---- work ----

    async def _profile(self, work: int, request: ProfileRequest) -> None:
        self._events.put_nowait(Profiled(work, await self._profiler.measure(request)))

    async def _fetch(self, work: int, task: Task) -> None:
        await self._trainers.prepare(task.network, task.graphs)
        if task.shard is not None:
            await self._samples.fetch(task)
        self._events.put_nowait(BlobReady(work, OTHERS))

    async def _train(self, work: int, task: Task) -> None:
        begin = await self._trainers.prepare(task.network, task.graphs)
        await self._work.worker.start(begin)
        listing = self._samples.listing if task.shard else None
        model = await in_thread(self._collector.model, task.model.digest)
        keep_network(model, task.network)
        self._trained = await self._work.train(task, model, listing)
        self._events.put_nowait(TrainedEvent(work))

    async def _upload(self, work: int, task: Task, again: Update | None) -> None:
        if again is not None and self._sent is not None:
            path, chunk_bytes = self._sent
        elif self._trained is not None:
            path = self._trained.change
            chunk_bytes = chunk_bytes_at(task.upload_bits_per_s, min(task.chunk_bytes, self._link.room_bytes))
            self._sent = (path, chunk_bytes)
        else:
            raise TrainingError("there is no update to send")
        with storing(path):
            blob = path.read_bytes()
        share = Share(self._work.board.share, task.upload_bits_per_s, lambda: self._link.socket)
        with share.hold() if self._work.leased else contextlib.nullcontext():
            self._uploader = Uploader(blob, chunk_bytes, Pacer(task.upload_bits_per_s), self._link, share.mark)
            if again is not None or self._trained is None:
                await self._uploader.run()
            else:
                again = await self._work.upload(task, self._trained, self._uploader, share)
        self._uploader = None
        if again is not None:
            self._events.put_nowait(Uploaded(work, again))
