"""A run from top to bottom: profile -> plan -> fill -> train -> measure -> aggregate -> report.

Every arrow is a file in the run directory (run_dir.py). A step whose file is there is not done again, so a run that
was interrupted goes on where it stopped, and each step can be had alone.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from edge_client.protocol.messages import Heartbeat, ServerHello, TaskClosed
from models.networks import initial_weights
from server.ahead import Ahead, sampling_ahead
from server.boards import open_boards
from server.broker import open_broker
from server.config import Strategy, load_config
from server.data.dataset import Dataset
from server.progress import Progress
from server.registry import open_registry
from server.replanning import replans, revise_plan
from server.rounds.enrolment import enrol_devices, wake_devices
from server.rounds.last_words import Earlier, file_words, note_round, owners, wire_name
from server.rounds.live import LiveFleet, open_fleet
from server.rounds.samples import Shard
from server.rounds.training import Course, train_strategy
from server.run_dir import Enrolled, Origin, RoundRecord, RunDir, RunInfo, StrategyPlan
from server.run_plans import make_plan, participants
from server.steps import Run, make_shards, prepare_data, report, with_fresh

# ---- the story ---------------------------------------------------------------------------------------------------


async def whole_run(run: Run) -> None:
    """From a configuration to a report."""
    data = prepare_data(run)
    async with connected_fleet(run, data) as (fleet, course), sampling_ahead(run) as ahead:
        enrolled = participants(run, await enrol(run, fleet, course))
        strategies = run.config.strategies
        for at, strategy in enumerate(strategies):
            plan = make_plan(run, strategy, enrolled)
            later = strategies[at if replans(run, plan) else at + 1 :]
            async with ahead.aside(later):
                shards = await draw_shards(run, strategy, plan, data)
            revise = partial(plan_again, run, strategy, enrolled, data, ahead, later) if replans(run, plan) else None
            await train_strategy(course, fleet, run.folder, strategy, plan, enrolled, shards, run.progress, revise)
    report(run)


async def plan_again(
    run: Run,
    strategy: Strategy,
    enrolled: tuple[Enrolled, ...],
    data: Dataset,
    ahead: Ahead,
    later: Sequence[Strategy],
    present: StrategyPlan,
    records: tuple[RoundRecord, ...],
) -> tuple[StrategyPlan, dict[str, Shard]] | None:
    """The loop closes: a better plan by what the rounds have measured, with its shards, kept on record; or None."""
    revised = await asyncio.to_thread(revise_plan, run, strategy, enrolled, present, records)
    if revised is None:
        return None
    async with ahead.aside(later, finish=False):  # devices wait, and the block in hand is none of theirs
        return revised, await draw_shards(run, strategy, revised, data)


async def draw_shards(run: Run, strategy: Strategy, plan: StrategyPlan, data: Dataset) -> dict[str, Shard]:
    """`make_shards` beside the fleet's messages. A thread cannot be cancelled: it asks whether we were."""
    ended = threading.Event()
    try:
        return await asyncio.to_thread(make_shards, run, strategy, plan, data, stop=ended.is_set)
    finally:
        ended.set()


async def devices_only(run: Run) -> None:
    """Up to devices.json."""
    data = prepare_data(run)
    async with connected_fleet(run, data) as (fleet, course):
        await enrol(run, fleet, course)


# ---- the fleet ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected_fleet(run: Run, data: Dataset) -> AsyncIterator[tuple[LiveFleet, Course]]:
    """Broker, virtual boards and our own connection, each stopped on the way out, the last first."""
    info = run.folder.load("run.json", RunInfo)
    earlier = Earlier.of(info.id, run.folder.events())
    attempt = 1 + len(earlier.runs)
    run.folder.event("started", attempt=attempt)
    wire_run = wire_name(info.id, attempt)
    hello = ServerHello(server_id=f"fimi-{info.id}", run=wire_run, network=info.network)

    def note(kind: str, **fields: object) -> None:
        beat = fields.get("message")
        if isinstance(beat, Heartbeat):
            run.progress.heartbeat(beat)
            return
        run.folder.event(kind, **fields)
        if kind in ("no-graphs", "left-out", "refusal", "offline", "not-counted", "protocol-error"):
            run.progress.say(f"{kind}: " + ", ".join(f"{key} {value}" for key, value in fields.items()))

    def keep_late(words: Iterable[TaskClosed]) -> None:
        file_words(run.folder, run.config.strategies, words, current=None)

    network = info.network
    with open_broker(run.config.broker, run.folder.path / "broker", run.progress.say, run.base) as address:
        run.progress.say(f"broker at {address}, fleet {run.config.fleet.name}")
        async with (
            open_fleet(address, run.config.fleet.name, hello, note, earlier, keep_late) as fleet,
            open_boards(run.config, run.folder, address, fleet.fail, attempt),
        ):
            yield (
                fleet,
                Course(
                    run=wire_run,
                    config=run.config,
                    network=network,
                    initial=initial_weights(network.name, network.image_shape, network.n_classes, run.config.seed),
                    x_test=data.x_test,
                    y_test=data.y_test,
                    wire_rounds=itertools.count(1 + last_wire_round(run)),
                ),
            )


def last_wire_round(run: Run) -> int:
    """The highest round number that any message of this run may carry so far."""
    words = [closed.round for strategy in run.config.strategies for closed in run.folder.take_stray(strategy)]
    return max([*owners(run.folder, run.config.strategies), *words], default=0)


async def enrol(run: Run, fleet: LiveFleet, course: Course) -> tuple[Enrolled, ...]:
    """Wait for the devices, measure those that devices.json does not hold yet."""
    if run.folder.has("devices.json"):
        enrolled = run.folder.devices()
        await wake_devices(fleet, run.config, course.network, course.run, enrolled)
        return enrolled
    run.progress.title("waiting for devices, then measuring them")
    trial = next(course.wire_rounds)
    note_round(run.folder, trial, strategy=None)
    enrolled = await enrol_devices(fleet, run.config, course.network, course.run, course.initial, trial)
    run.folder.save("devices.json", enrolled)
    with open_registry(run.folder.path.parent / "registry.sqlite") as registry:
        for device in enrolled:
            registry.enrol(run.config.fleet.name, device.join, time.time())
            registry.keep_profile(run.config.fleet.name, device.profile, time.time())
    for device in enrolled:
        run.progress.say(describe_device(device))
        if device.calibration is not None:
            run.progress.say(f"{device.id}: {device.calibration.why}")
    return enrolled


# ---- opening and running -----------------------------------------------------------------------------------------


def new_run(
    config_file: Path, out: Path | None, progress: Progress, *, drop_infeasible: bool = False, fresh: bool = False
) -> Run:
    """A fresh run directory for a configuration file, which is kept in it as it is."""
    config = load_config(config_file)
    origin = Origin(base_dir=str(config_file.resolve().parent), fresh=fresh)
    folder = RunDir.begin(out or Path(config.out), config.name, config_file.read_bytes(), origin)
    return Run(folder, with_fresh(config) if fresh else config, Path(origin.base_dir), progress, drop_infeasible)


def open_run(path: Path, progress: Progress, *, drop_infeasible: bool = False) -> Run:
    """An existing run directory."""
    folder = RunDir.open(path)
    origin = folder.origin()
    config = load_config(path / "config.toml")
    if origin.fresh:
        config = with_fresh(config)
    return Run(folder, config, Path(origin.base_dir), progress, drop_infeasible)


def run_to_end(steps: Coroutine[None, None, None], progress: Progress) -> None:
    """Run a coroutine of this module; Ctrl-C, SIGTERM and SIGHUP end it in order and come out as KeyboardInterrupt."""
    try:
        with signals_as_interrupt(), progress.showing(), ExitStack() as stack:
            with interrupts_deferred():  # a loop that is half made cannot end in order
                runner = stack.enter_context(asyncio.Runner())
            runner.run(steps)
    finally:
        steps.close()  # interrupted before it began, it would complain of never having been awaited


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """A SIGINT that comes inside is a KeyboardInterrupt at the end. (A mask would not do: other threads get it.)"""
    came = []
    previous = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if came:
        raise KeyboardInterrupt


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end a run as Ctrl-C does: what was started is stopped, what was written is kept."""
    terminals = [fd for fd in (1, 2) if os.isatty(fd)]

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    def hung_up(*_: object) -> None:
        # A write to a terminal that is gone is an error, which must not end the clean-up half way.
        gone = [fd for fd in terminals if not os.isatty(fd)]
        with Path(os.devnull).open("wb") as nowhere:
            for fd in gone:
                os.dup2(nowhere.fileno(), fd)
        interrupt()

    # A shell starts background jobs with SIGINT ignored, and asyncio then leaves it so.
    handlers: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: interrupt}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored under nohup: the run is to outlive its terminal
        handlers[signal.SIGHUP] = hung_up
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# ---- for people --------------------------------------------------------------------------------------------------


def describe_device(device: Enrolled) -> str:
    """One line: what was measured."""
    top = max(device.profile.points, key=lambda point: point.freq_hz or 0.0)
    starved = ", measured while the host was busy" if any(p.starved for p in device.profile.points) else ""
    clock = "its own clock" if top.freq_hz is None else f"{top.freq_hz / 1e6:.0f} MHz"
    by = "" if device.profile.runtime is None else f" by {device.profile.runtime}"
    joules = "? J" if top.j_per_sample is None else f"{top.j_per_sample * 1e3:.1f} mJ"
    return (
        f"{device.id}: {device.join.capabilities.board}, {sum(device.join.label_counts)} samples, "
        f"{1 / top.s_per_sample:.1f} samples/s and {joules} a sample{by} at {clock}, "
        f"uplink {device.link.up_bits_per_s / 1e6:.1f} Mbit/s{starved}"
    )
