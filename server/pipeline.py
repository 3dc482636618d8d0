"""A run from top to bottom: profile -> plan -> fill -> train -> measure -> aggregate -> report.

Every arrow is a file in the run directory (run_dir.py). A step whose file is there is not done again, so a run that
was interrupted goes on where it stopped, and each step can be had alone.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edge_client.protocol.messages import Heartbeat, NetworkSpec, ServerHello
from edge_client.protocol.shards import pack_shard
from models.networks import initial_weights
from server.boards import open_boards
from server.broker import open_broker
from server.config import RunConfig, Strategy, load_config
from server.data.dataset import Dataset, Split, cut_public_private
from server.data.devices import write_device
from server.data.load import load_dataset
from server.data.partition import partition
from server.errors import DataError
from server.progress import Progress
from server.registry import open_registry
from server.rounds.enrolment import enrol_devices, wake_devices
from server.rounds.live import LiveFleet, open_fleet
from server.rounds.training import Course, train_strategy
from server.run_dir import Enrolled, RunDir, RunInfo, StrategyPlan, versions
from server.sources import check_generator, check_sources, learning_values, needs_synthetic, synthetic_samples
from server.strategies import Terms, plan_strategy, planner_device, settle_terms


@dataclass(frozen=True)
class Run:
    """A run directory with its configuration. `base` is where relative paths of the configuration start."""

    folder: RunDir
    config: RunConfig
    base: Path
    progress: Progress


# ---- the story ---------------------------------------------------------------------------------------------------


async def whole_run(run: Run) -> None:
    """From a configuration to a report."""
    data = prepare_data(run)
    async with connected_fleet(run, data) as (fleet, course):
        enrolled = await enrol(run, fleet, course)
        for strategy in run.config.strategies:
            plan = make_plan(run, strategy, enrolled)
            shards = await asyncio.to_thread(make_shards, run, strategy, plan, data)
            await train_strategy(course, fleet, run.folder, strategy, plan, enrolled, shards, run.progress)
    report(run)


async def devices_only(run: Run) -> None:
    """Up to devices.json."""
    data = prepare_data(run)
    async with connected_fleet(run, data) as (fleet, course):
        await enrol(run, fleet, course)


# ---- the steps ---------------------------------------------------------------------------------------------------


def prepare_data(run: Run) -> Dataset:
    """Load the data set and, for virtual boards, deal its private part out into files."""
    check_sources(run.config, run.base)
    config = run.config.data
    data = load_dataset(config.source, image_size=config.image_size, seed=config.split_seed, base=run.base)
    split = cut(run.config, data)
    check_generator(run.config, run.base, data, split.public)
    if not run.folder.has("run.json"):
        network = NetworkSpec(name=run.config.network.name, image_shape=data.image_shape, n_classes=data.n_classes)
        info = RunInfo(
            id=run.folder.path.name,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            base_dir=str(run.base.resolve()),
            network=network,
            class_names=data.class_names,
            versions=versions(),
        )
        run.folder.save("run.json", info)
    run.progress.say(f"{data.name}: {len(data.y_train)} training and {len(data.y_test)} test images")
    ids = [board.id for board in run.config.boards]
    if ids and not all(run.folder.has(f"data/{device}.npz") for device in ids):
        for device, indices in zip(ids, deal_private(run.config, data, split, len(ids)), strict=True):
            write_device(
                run.folder.path / "data" / f"{device}.npz", data.x_train[indices], data.y_train[indices], data.n_classes
            )
    return data


def cut(config: RunConfig, data: Dataset) -> Split:
    """The server's public part and the devices' private one."""
    return cut_public_private(
        data.y_train,
        public_fraction=config.data.public_fraction,
        seed=config.data.split_seed,
        groups=data.groups_train,
    )


def deal_private(config: RunConfig, data: Dataset, split: Split, n_devices: int) -> list[np.ndarray]:
    """Indices into the training set, one array a device: from the private part only, at most as many as asked for."""
    own = split.private
    if config.data.local_samples is not None:
        wanted = config.data.local_samples * n_devices
        if wanted > len(own):
            raise DataError(
                f"{n_devices} devices of {config.data.local_samples} samples need {wanted}, "
                f"the private part of {data.name} has {len(own)}"
            )
        if config.data.partition != "groups":
            own = np.sort(np.random.default_rng(config.seed).permutation(own)[:wanted])
    parts = partition(
        data.y_train[own],
        n_devices,
        scheme=config.data.partition,
        seed=config.seed,
        alpha=config.data.alpha,
        classes_per_device=config.data.classes_per_device,
        groups=None if data.groups_train is None else data.groups_train[own],
    )
    return [own[part] for part in parts]


@asynccontextmanager
async def connected_fleet(run: Run, data: Dataset) -> AsyncIterator[tuple[LiveFleet, Course]]:
    """Broker, virtual boards and our own connection, each stopped on the way out, the last first."""
    info = run.folder.load("run.json", RunInfo)
    events = run.folder.events()
    attempt = 1 + sum(event["event"] == "started" for event in events)
    run.folder.event("started", attempt=attempt)
    # A name of its own for each attempt: what devices remember of an interrupted one must not answer for this one.
    wire_run = info.id if attempt == 1 else f"{info.id}.{attempt}"
    hello = ServerHello(server_id=f"fimi-{info.id}", run=wire_run, network=info.network)

    def note(kind: str, **fields: object) -> None:
        beat = fields.get("message")
        if isinstance(beat, Heartbeat):
            run.progress.heartbeat(beat)
            return
        run.folder.event(kind, **fields)
        if kind in ("left-out", "refusal", "offline", "protocol-error"):
            run.progress.say(f"{kind}: " + ", ".join(f"{key} {value}" for key, value in fields.items()))

    network = info.network
    with open_broker(run.config.broker, run.folder.path / "broker", run.progress.say) as address:
        run.progress.say(f"broker at {address}, fleet {run.config.fleet.name}")
        async with (
            open_fleet(address, run.config.fleet.name, hello, note) as fleet,
            open_boards(run.config, run.folder, address, fleet.fail),
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
    rounds = [record.wire_round for strategy in run.config.strategies for record in run.folder.rounds(strategy)]
    words = [closed.round for strategy in run.config.strategies for closed in run.folder.take_stray(strategy)]
    return max(rounds + words, default=0)


async def enrol(run: Run, fleet: LiveFleet, course: Course) -> tuple[Enrolled, ...]:
    """Wait for the devices, measure those that devices.json does not hold yet."""
    if run.folder.has("devices.json"):
        enrolled = run.folder.devices()
        await wake_devices(fleet, run.config, course.network, course.run, enrolled)
        return enrolled
    run.progress.title("waiting for devices, then measuring them")
    enrolled = await enrol_devices(
        fleet, run.config, course.network, course.run, course.initial, next(course.wire_rounds)
    )
    run.folder.save("devices.json", enrolled)
    with open_registry(run.folder.path.parent / "registry.sqlite") as registry:
        for device in enrolled:
            registry.enrol(run.config.fleet.name, device.join, time.time())
            registry.keep_profile(run.config.fleet.name, device.profile, time.time())
    for device in enrolled:
        run.progress.say(describe_device(device))
    return enrolled


def make_plan(run: Run, strategy: Strategy, enrolled: tuple[Enrolled, ...]) -> StrategyPlan:
    """The strategy's plan, from its file or solved now."""
    if run.folder.has(f"plan-{strategy}.json"):
        return run.folder.plan(strategy)
    from server.plan.solve import solve

    devices = [planner_device(device, run.config.plan.storage_samples) for device in enrolled]
    plan = plan_strategy(
        strategy, devices, terms_of(run, enrolled), partial(solve, batch_size=run.config.training.batch_size)
    )
    run.folder.save_plan(plan)
    run.progress.say(describe_plan(plan))
    return plan


def terms_of(run: Run, enrolled: tuple[Enrolled, ...]) -> Terms:
    """What every plan of the run is held to."""
    return settle_terms(
        [planner_device(device, run.config.plan.storage_samples) for device in enrolled],
        run.config.plan,
        learning=learning_values(run.config, run.base) if needs_synthetic(run.config) else None,
        local_epochs=run.config.training.local_epochs,
    )


def make_shards(run: Run, strategy: Strategy, plan: StrategyPlan, data: Dataset | None = None) -> dict[str, bytes]:
    """The synthetic samples of each device that gets any, from their files or drawn now; as the wire carries them."""
    wanting = [device for device in plan.plan.devices if sum(device.synth_counts)]
    names = {device.id: run.folder.shard_name(strategy, device.id) for device in wanting}
    if not all(run.folder.has(name) for name in names.values()):
        counts = np.array([device.synth_counts for device in wanting], dtype=np.int64)
        samples = synthetic_samples(run.config, run.base, run.folder, counts, run.progress.say)
        for device, (images, labels) in zip(wanting, samples, strict=True):
            run.folder.save_arrays(names[device.id], x=images, y=labels)
    shards = {}
    for id_, name in names.items():
        arrays = run.folder.load_arrays(name)
        if data is not None and arrays["x"].shape[1:] != data.image_shape:
            raise DataError(f"{name} holds images {arrays['x'].shape[1:]}, the data set has {data.image_shape}")
        shards[id_] = pack_shard(arrays["x"], arrays["y"])
    return shards


def report(run: Run) -> None:
    """report.json and report.html."""
    from server.report import build_report

    build_report(run.folder.path)
    run.progress.say(f"report: {run.folder.path / 'report.html'}")


# ---- opening and running -----------------------------------------------------------------------------------------


def new_run(config_file: Path, out: Path | None, progress: Progress) -> Run:
    """A fresh run directory for a configuration file, which is kept in it as it is."""
    config = load_config(config_file)
    base = config_file.resolve().parent
    folder = RunDir.create(out if out is not None else Path(config.out), config.name)
    (folder.path / "config.toml").write_bytes(config_file.read_bytes())
    return Run(folder, config, base, progress)


def open_run(path: Path, progress: Progress) -> Run:
    """An existing run directory."""
    folder = RunDir.open(path)
    config = load_config(path / "config.toml")
    base = Path(folder.load("run.json", RunInfo).base_dir) if folder.has("run.json") else path
    return Run(folder, config, base, progress)


def run_to_end(steps: Coroutine[None, None, None], progress: Progress) -> None:
    """Run a coroutine of this module; Ctrl-C and SIGTERM end it in order and come out as KeyboardInterrupt."""
    with sigterm_as_interrupt(), progress.showing():
        asyncio.run(steps)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: everything started is stopped, everything written is kept."""

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    # A shell starts background jobs with SIGINT ignored, and asyncio then leaves it so.
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt),
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# ---- for people --------------------------------------------------------------------------------------------------


def describe_device(device: Enrolled) -> str:
    """One line: what was measured."""
    top = max(device.profile.points, key=lambda point: point.freq_hz)
    starved = ", measured while the host was busy" if any(p.starved for p in device.profile.points) else ""
    joules = "? J" if top.j_per_sample is None else f"{top.j_per_sample * 1e3:.1f} mJ"
    return (
        f"{device.id}: {device.join.capabilities.board}, {sum(device.join.label_counts)} samples, "
        f"{1 / top.s_per_sample:.1f} samples/s and {joules} a sample at {top.freq_hz / 1e6:.0f} MHz, "
        f"uplink {device.link.up_bits_per_s / 1e6:.1f} Mbit/s{starved}"
    )


def describe_plan(plan: StrategyPlan) -> str:
    """One line: joules, data, certificate."""
    synthetic = sum(sum(device.synth_counts) for device in plan.plan.devices)
    samples = sum(device.executed_samples for device in plan.plan.devices)
    gap = f", within {plan.plan.executed_gap:.2%} of the bound" if plan.certified else ""
    return (
        f"plan {plan.strategy}: {plan.plan.executed_energy_j:.1f} J {plan.plan.energy_basis} a round of at most "
        f"{plan.round_s:.1f} s, {samples} samples of which {synthetic} synthetic{gap}"
    )
