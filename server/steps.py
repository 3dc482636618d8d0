"""The steps that need no device, each from files of the run directory to files of the run directory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.config import RunConfig, Strategy
from server.data.dataset import Dataset, Split
from server.data.devices import write_device
from server.data.load import load_dataset
from server.data.partition import draw_groups, partition
from server.errors import DataError
from server.progress import Progress
from server.rounds.samples import Shard
from server.run_dir import RunDir, RunInfo, StrategyPlan, versions
from server.sampling import check_samples, synthetic_samples
from server.sources import check_generator, check_learning, check_sources, keep_sources
from server.synth.generator import Stop, never

if TYPE_CHECKING:
    from server.synth.filling import Maker


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
    check_generator(run.config, run.base, data, split.public, run.progress.say)
    if not run.folder.has("devices.json"):
        generator = check_samples(run.config, run.base, data)
        check_learning(run.config, run.base, data, split.public, generator, run.progress.say)
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
    return data.cut(config.data.public_fraction, config.data.split_seed)


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


# ---- synthetic samples, report ------------------------------------------------------------------------------------


def make_shards(
    run: Run,
    strategy: Strategy,
    plan: StrategyPlan,
    data: Dataset | None = None,
    *,
    anew: bool = False,
    stop: Stop = never,
    make: Maker | None = None,
) -> dict[str, Shard]:
    """The synthetic samples of each device that gets any.

    From their files where these hold what the plan says; else, or with `anew`, drawn now for all devices. `stop` can
    end a long synthesis with Stopped. `make`: who makes what is not there yet, if not this process.
    """
    counts = {device.id: device.synth_counts for device in plan.plan.devices if sum(device.synth_counts)}
    names = {id_: run.folder.shard_name(strategy, id_) for id_ in counts}
    if counts and (anew or not all(_holds(run.folder, names[id_], own) for id_, own in counts.items())):
        # for all devices, with those that get none: what one holds is not to move when another begins to get some
        wanted = np.array([device.synth_counts for device in plan.plan.devices], dtype=np.int64)
        sources = (run.config, run.base, run.folder)
        samples = synthetic_samples(*sources, wanted, run.progress.say, stop, make)
        for device, (images, labels) in zip(plan.plan.devices, samples, strict=True):
            if device.id in names:
                run.folder.save_arrays(names[device.id], x=images, y=labels)
    run.folder.keep_shards(strategy, counts)
    shards = {}
    for id_, name in names.items():
        arrays = run.folder.load_arrays(name)
        if data is not None and arrays["x"].shape[1:] != data.image_shape:
            raise DataError(f"{name} holds images {arrays['x'].shape[1:]}, the data set has {data.image_shape}")
        shards[id_] = Shard(arrays["x"], arrays["y"])
        len(shards[id_].packed_list)  # hashed here, in this thread, and not later among the fleet's messages
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
