"""The steps that need no device, each from files of the run directory to files of the run directory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from edge_client.protocol.messages import NetworkSpec
from edge_client.protocol.shards import pack_shard
from server.config import PlanConfig, RunConfig, Strategy
from server.data.dataset import Dataset, Split, cut_public_private
from server.data.devices import write_device
from server.data.load import load_dataset
from server.data.partition import draw_groups, partition
from server.errors import DataError, InfeasibleError
from server.outlay import Choice, choose, describe, load_curves, with_fill_factor
from server.plan.diagnosis import named
from server.plan.problem import Device, PlanRecord
from server.progress import Progress
from server.run_dir import Enrolled, OwnPace, RunDir, RunInfo, StrategyPlan, versions
from server.sources import (
    check_generator,
    check_sources,
    keep_sources,
    learning_values,
    needs_synthetic,
    synthetic_samples,
)
from server.strategies import (
    Terms,
    measured_table,
    plan_strategy,
    planner_device,
    problem_of,
    settle_terms,
    unmeasured_uploads,
)
from server.synth.generator import Stop, never
from server.unplanned import check_pace, needs_joules, own_pace


@dataclass(frozen=True)
class Run:
    """A run directory with its configuration. `base` is where relative paths of the configuration start.

    `drop_infeasible`: go on without the devices that alone make a plan impossible.
    """

    folder: RunDir
    config: RunConfig
    base: Path
    progress: Progress
    drop_infeasible: bool = False


def with_fresh(config: RunConfig) -> RunConfig:
    """The same with synth.fresh = true."""
    return msgspec.structs.replace(config, synth=msgspec.structs.replace(config.synth, fresh=True))


# ---- data ----------------------------------------------------------------------------------------------------------


def prepare_data(run: Run) -> Dataset:
    """Load the data set and, for virtual boards, deal its private part out into files."""
    check_sources(run.config, run.base)
    config = run.config.data
    data = load_dataset(config.source, image_size=config.image_size, seed=config.split_seed, base=run.base)
    split = cut(run.config, data)
    check_generator(run.config, run.base, data, split.public)
    ids = [board.id for board in run.config.boards]
    parts = []
    if ids and not all(run.folder.has(f"data/{device}.npz") for device in ids):
        parts = deal_private(run.config, data, split, len(ids))
    if not run.folder.has("run.json"):  # from here on the run exists: all that can be refused has been looked at
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
    keep_sources(run.config, run.base, run.folder)
    run.progress.say(f"{data.name}: {len(data.y_train)} training and {len(data.y_test)} test images")
    for device, indices in zip(ids, parts, strict=False):
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
    """Indices into the training set, one array a device: from the private part only, as many as asked for.

    With partition = "groups" somewhat more: no group is torn apart, and every device gets one.
    """
    own = split.private
    groups = data.groups_train if config.data.partition == "groups" else None
    if config.data.local_samples is not None:
        wanted = config.data.local_samples * n_devices
        if wanted > len(own):
            raise DataError(
                f"{n_devices} devices of {config.data.local_samples} samples need {wanted}, "
                f"the private part of {data.name} has {len(own)}"
            )
        if groups is not None:
            own = own[draw_groups(groups[own], wanted, n_devices, seed=config.seed)]
        else:
            own = np.sort(np.random.default_rng(config.seed).permutation(own)[:wanted])
    parts = partition(
        data.y_train[own],
        n_devices,
        scheme=config.data.partition,
        seed=config.seed,
        alpha=config.data.alpha,
        classes_per_device=config.data.classes_per_device,
        groups=None if groups is None else groups[own],
    )
    return [own[part] for part in parts]


# ---- plans ---------------------------------------------------------------------------------------------------------


def participants(run: Run, enrolled: tuple[Enrolled, ...]) -> tuple[Enrolled, ...]:
    """The devices that every strategy plans for: all, or with `drop_infeasible` those that a plan can be made for.

    Who is left out stands in left-out.json with the reason, and stays out when the run goes on.
    """
    if run.folder.has("left-out.json"):
        out = run.folder.load("left-out.json", dict[str, str])
        return tuple(device for device in enrolled if device.id not in out)
    kept, out = choose_participants(run, enrolled)
    if out:
        run.folder.save("left-out.json", out)
    return kept


def choose_participants(run: Run, enrolled: tuple[Enrolled, ...]) -> tuple[tuple[Enrolled, ...], dict[str, str]]:
    """Who is planned for, and by name who is left out and why; nothing is written."""
    if not run.drop_infeasible:
        return enrolled, {}
    from server.plan.diagnosis import NoPlanError
    from server.plan.solve import solve

    out: dict[str, str] = {}
    kept = enrolled
    while True:
        try:
            terms, devices = terms_of(run, kept), planner_devices(run, kept)
            check_pace("tfl", unplanned(run, kept), terms.round_s)
            if devices:
                solve(problem_of(devices, terms, with_synthetic=needs_synthetic(run.config)))
        except NoPlanError as error:
            fewer = tuple(device for device in kept if device.id not in error.devices)
            if not fewer or len(fewer) == len(kept):
                raise
            out |= dict.fromkeys(error.devices, str(error))
            run.progress.say(f"left out: {', '.join(error.devices)} ({error})")
            kept = fewer
            continue
        return kept, out


def planner_devices(run: Run, enrolled: tuple[Enrolled, ...]) -> list[Device]:
    """Those whose joules are known; a run whose strategies need joules has no others."""
    known = [device for device in enrolled if needs_joules(run.config.strategies) or measured_table(device) is not None]
    return [planner_device(device, run.config.plan.storage_samples) for device in known]


def unplanned(run: Run, enrolled: tuple[Enrolled, ...]) -> list[OwnPace]:
    """The others."""
    if needs_joules(run.config.strategies):
        return []
    return [own_pace(device, run.config.training.local_epochs) for device in enrolled if measured_table(device) is None]


def make_plan(run: Run, strategy: Strategy, enrolled: tuple[Enrolled, ...]) -> StrategyPlan:
    """The strategy's plan, from its file or solved now."""
    if run.folder.has(f"plan-{strategy}.json"):
        return run.folder.current_plan(strategy)
    keep_outlay(run, enrolled)
    plan = solve_plan(run, strategy, enrolled)
    run.folder.save_plan(plan)
    run.progress.say(describe_plan(plan))
    return plan


def solve_plan(
    run: Run,
    strategy: Strategy,
    enrolled: tuple[Enrolled, ...],
    now: Sequence[Device] | None = None,
    warm: PlanRecord | None = None,
) -> StrategyPlan:
    """The strategy's plan for these devices; nothing is written. `now`: as they are believed to be by now; `warm`: the
    plan so far, near which the new one is sought."""
    from server.plan.solve import solve

    if now is None and (unknown := unmeasured_uploads(enrolled)):
        run.progress.say(f"the upload power of {', '.join(unknown)} could not be measured: {strategy} plans it as free")
    exact = partial(solve, batch_size=run.config.training.batch_size, warm=warm)
    devices, others = now or planner_devices(run, enrolled), unplanned(run, enrolled)
    return plan_strategy(strategy, devices, terms_of(run, enrolled), exact, others)


def plan_anew(run: Run, strategies: Sequence[Strategy]) -> None:
    """Solve these strategies again. What is on disk is replaced once all of them are solved, and not before."""
    enrolled = run.folder.devices()
    if any(run.folder.rounds(strategy) for strategy in run.config.strategies):
        kept, out = participants(run, enrolled), None
    else:  # none begun: who is left out may change as well
        kept, out = choose_participants(run, enrolled)
    plans = [solve_plan(run, strategy, kept) for strategy in strategies]
    if out:
        run.folder.save("left-out.json", out)
    elif out is not None:
        run.folder.remove("left-out.json")
    for plan in plans:
        run.folder.save_plan(plan)
        run.progress.say(describe_plan(plan))


def plan_settings(run: Run, enrolled: tuple[Enrolled, ...]) -> PlanConfig:
    """[plan] as it is, or with the amount of data that reaches plan.target_accuracy for the least predicted joules."""
    if run.config.plan.target_accuracy is None or not needs_synthetic(run.config):
        return run.config.plan
    return with_fill_factor(run.config.plan, choose_outlay(run, enrolled).fill_factor)


def choose_outlay(run: Run, enrolled: tuple[Enrolled, ...]) -> Choice:
    """outlay.json, or the choice made now; not written here."""
    if run.folder.has("outlay.json"):
        return run.folder.load("outlay.json", Choice)
    from server.plan.solve import solve

    assert run.config.plan.target_accuracy is not None
    devices, learning = planner_devices(run, enrolled), learning_values(run.config, run.base)

    def round_j(fill_factor: float) -> float | None:
        plan = with_fill_factor(run.config.plan, fill_factor)
        terms = settle_terms(devices, plan, learning=learning, local_epochs=run.config.training.local_epochs)
        try:
            return plan_strategy("fimi", devices, terms, solve).plan.executed_energy_j
        except InfeasibleError:
            return None

    return choose(load_curves(run.config, run.base), round_j, run.config.plan.target_accuracy)


def keep_outlay(run: Run, enrolled: tuple[Enrolled, ...]) -> None:
    """Put the choice on record, once."""
    if run.config.plan.target_accuracy is None or not needs_synthetic(run.config) or run.folder.has("outlay.json"):
        return
    choice = choose_outlay(run, enrolled)
    run.folder.save("outlay.json", choice)
    run.progress.say(describe(choice))


def terms_of(run: Run, enrolled: tuple[Enrolled, ...]) -> Terms:
    """What every plan of the run is held to."""
    return settle_terms(
        planner_devices(run, enrolled),
        plan_settings(run, enrolled),
        learning=learning_values(run.config, run.base) if needs_synthetic(run.config) else None,
        local_epochs=run.config.training.local_epochs,
        unplanned=unplanned(run, enrolled),
    )


def make_shards(
    run: Run,
    strategy: Strategy,
    plan: StrategyPlan,
    data: Dataset | None = None,
    *,
    anew: bool = False,
    stop: Stop = never,
) -> dict[str, bytes]:
    """The synthetic samples of each device that gets any, as the wire carries them.

    From their files where these hold what the plan says; else, or with `anew`, drawn now for all devices. `stop` can
    end a long synthesis with Stopped.
    """
    counts = {device.id: device.synth_counts for device in plan.plan.devices if sum(device.synth_counts)}
    names = {id_: run.folder.shard_name(strategy, id_) for id_ in counts}
    if anew or not all(_holds(run.folder, names[id_], own) for id_, own in counts.items()):
        wanted = np.array(list(counts.values()), dtype=np.int64).reshape(len(counts), -1)
        sources = (run.config, run.base, run.folder)
        samples = synthetic_samples(*sources, wanted, run.progress.say, stop) if counts else []
        for name, (images, labels) in zip(names.values(), samples, strict=True):
            run.folder.save_arrays(name, x=images, y=labels)
    run.folder.keep_shards(strategy, counts)
    shards = {}
    for id_, name in names.items():
        arrays = run.folder.load_arrays(name)
        if data is not None and arrays["x"].shape[1:] != data.image_shape:
            raise DataError(f"{name} holds images {arrays['x'].shape[1:]}, the data set has {data.image_shape}")
        shards[id_] = pack_shard(arrays["x"], arrays["y"])
    return shards


def _holds(folder: RunDir, name: str, counts: tuple[int, ...]) -> bool:
    """Whether a shard's file is there and has as many samples of each class as `counts` says."""
    return folder.has(name) and np.array_equal(
        np.sort(folder.load_arrays(name)["y"]), np.repeat(np.arange(len(counts)), counts)
    )


def report(run: Run) -> None:
    """report.json and report.html."""
    from server.report import build_report

    build_report(run.folder.path)
    run.progress.say(f"report: {run.folder.path / 'report.html'}")


# ---- for people ----------------------------------------------------------------------------------------------------


def describe_plan(plan: StrategyPlan) -> str:
    """One line: joules, data, certificate."""
    synthetic = sum(sum(device.synth_counts) for device in plan.plan.devices)
    samples = sum(device.executed_samples for device in plan.plan.devices)
    samples += sum(own.samples for own in plan.unplanned)
    # A gap below zero by rounding is none.
    gap = f", within {max(plan.plan.executed_gap, 0.0):.2%} of the bound" if plan.certified else ""
    joules = f"{plan.plan.executed_energy_j:.1f} J {plan.plan.energy_basis}"
    others = ""
    if plan.unplanned:
        known, ids = len(plan.plan.devices), tuple(own.id for own in plan.unplanned)
        joules = f"{joules} on {known} of {known + len(ids)} devices" if known else "joules not known,"
        others = f"; {named(ids)} at the board's own clock, without joules"
    return (
        f"plan {plan.strategy}: {joules} a round of at most {plan.round_s:.1f} s, {samples} samples of which "
        f"{synthetic} synthetic{gap}{others}"
    )
