"""The commands that make a generator: what it may see as small files, its training, a pool of its samples."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import ConfigError
from server.given import FROM_0, FROM_1, GREY, MORE_THAN_0, check_values, data_of, numbers

if TYPE_CHECKING:
    from server.config import RunConfig
    from server.data.dataset import Dataset
    from server.synth.filling import Maker
    from server.synth.generator import Generator
    from server.synth.hardware import Hardware
    from server.synth.make import GeneratorSettings, PoolSettings
    from server.synth.public import PublicPart


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """pack-public, train-generator and synth-pool."""
    pack = commands.add_parser("pack-public", help="the public part as small files, for a machine with a GPU")
    pack.set_defaults(function=pack_public_command)

    train = commands.add_parser("train-generator", help="train a generator on the public part, and make its pool")
    train.add_argument("--public", type=Path, metavar="DIR", help="of pack-public, in place of a data set: no pool")
    train.add_argument("--steps", type=int, help="of training (default: 20000, hours on two cores)")
    train.add_argument("--minutes", type=float, help="in place of --steps: as many as fit, timed once at the start")
    train.add_argument("--batch", type=int, default=64, help="images a step (default: 64)")
    train.add_argument("--lr", type=float, default=1e-3, help="highest learning rate (default: 0.001)")
    train.add_argument("--ema", type=float, default=0.999, help="averaging of the weights (default: 0.999)")
    train.add_argument("--widths", default="64,96", help="channels of the network's levels (default: 64,96)")
    train.add_argument("--layers", type=int, default=1, help="residual blocks a level (default: 1)")
    train.add_argument("--patch", type=int, default=2, help="pixels a side folded into channels: 2, or 1 on a GPU")
    mirror = "show images mirrored, too: for things, whose left may be their right; not for signs and letters"
    train.add_argument("--mirror", action="store_true", help=mirror)
    train.add_argument("--shift", type=int, default=0, help="move images by up to so many pixels (default: 0)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--no-compile", action="store_true", help="on a GPU: without torch.compile")
    train.set_defaults(function=train_generator_command)

    pool = commands.add_parser("synth-pool", help="fill the pool of a generator that is there")
    pool.add_argument("--status", action="store_true", help="make nothing: what the pool in --out holds")
    add_ray_options(pool)
    pool.set_defaults(function=synth_pool_command)

    for command, what in ((pack, "folder"), (train, "folder"), (pool, "folder of the generator")):
        command.add_argument(
            "config", type=Path, metavar="RUN.toml", nargs="?", help="of a run that will use it, or --data"
        )
        command.add_argument("--data", metavar="SOURCE", help="as data.source of RUN.toml, its other fields as default")
        command.add_argument("--out", type=Path, required=True, help=what)
    for command in (train, pool):
        command.add_argument("--device", default="auto", help="auto, cpu or cuda (default: a GPU where there is one)")
        command.add_argument("--per-class", type=int, default=1200, help="samples in the pool (default: 1200)")
        block = "samples that are made and kept together (default: 50)"
        command.add_argument("--block", type=int, default=50, help=block)
        black = "darker pixels are made 0 (default: synth.black_below of RUN.toml, or 0)"
        command.add_argument("--black-below", type=int, help=black)


def add_ray_options(command: argparse.ArgumentParser) -> None:
    """--ray and --workers."""
    where = "sample by Ray on a cluster: HOST:PORT, auto, or local for workers on this machine alone"
    command.add_argument("--ray", metavar="ADDRESS", help=where)
    workers = "of --ray (default: one a GPU, without any GPU one a CPU)"
    command.add_argument("--workers", type=int, metavar="N", help=workers)


def wants_ray(arguments: argparse.Namespace) -> bool:
    """Whether --ray is given; raises ConfigError where its options do not go together."""
    if arguments.workers is not None and (arguments.ray is None or arguments.workers < 1):
        raise ConfigError("--workers: is a number from 1 up, beside --ray")
    return arguments.ray is not None


def pack_public_command(arguments: argparse.Namespace) -> None:
    """fimi-server pack-public"""
    config, dataset = data_of(arguments.config, arguments.data)
    from server.synth.public import public_part, write_public

    part = public_part(dataset, config.data.public_fraction, config.data.split_seed)
    size = write_public(arguments.out, part)
    print(f"{arguments.out}: {len(part.labels)} public images of {part.name}, {size / 2**20:.1f} MiB")


def train_generator_command(arguments: argparse.Namespace) -> None:
    """fimi-server train-generator"""
    if arguments.public is not None and (arguments.config or arguments.data):
        raise ConfigError("--public: is given beside a data set; give one of the two")
    if arguments.steps is not None and arguments.minutes is not None:
        raise ConfigError("--minutes: is given beside --steps; give one of the two")
    _check_training(arguments)
    _check_pool(arguments)
    from accelerate import PartialState

    from server.synth.hardware import Hardware
    from server.synth.make import train_generator
    from server.synth.opening import own_sampling
    from server.synth.public import public_part, read_public
    from server.synth.train import Progress

    def tell(now: Progress) -> None:
        left = f"{now.left_s / 60:.0f} min left"
        print(
            f"step {now.step} of {now.steps}, loss {now.loss:.4f}, {now.images_per_s:.0f} images/s, {left}", flush=True
        )

    home: tuple[RunConfig, Dataset] | None = None
    if arguments.public is not None:
        part = read_public(arguments.public)
    else:
        config, dataset = home = data_of(arguments.config, arguments.data)
        own_sampling(config.synth)  # refused now, not after hours of training
        _black_below(arguments, config)
        part = public_part(dataset, config.data.public_fraction, config.data.split_seed)
    hardware = Hardware.here(arguments.device, compile=False if arguments.no_compile else None)
    settings = _settings(arguments, part, hardware)
    train_generator(part, arguments.out, settings, report=tell, hardware=hardware)
    if not PartialState().is_main_process:  # of `accelerate launch`: one process goes on
        return
    if home is None:
        print(f"{arguments.out}: trained; its pool and its scores: fimi-server synth-pool, where the data set is")
        return
    if home[0].synth.select:
        from server.synth.judges import judges_beside

        judges_beside(part, arguments.out, mirror=arguments.mirror, say=partial(print, flush=True))
    _fill(arguments, *home, _own(arguments))
    _score(arguments, *home)


def _check_training(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for a value that no training can have."""
    check_values(
        arguments,
        {
            "steps": FROM_1,
            "minutes": MORE_THAN_0,
            "batch": FROM_1,
            "lr": MORE_THAN_0,
            "ema": (lambda n: 0 <= n < 1, "from 0 to below 1"),
            "layers": FROM_1,
            "patch": FROM_1,
            "shift": FROM_0,
            "seed": FROM_0,
        },
    )


def _check_pool(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for a value that no pool can have."""
    check_values(arguments, {"per_class": FROM_1, "block": FROM_1, "black_below": GREY})


def _settings(arguments: argparse.Namespace, part: PublicPart, hardware: Hardware) -> GeneratorSettings:
    from server.synth.make import GeneratorSettings, bfloat16_for, steps_for
    from server.synth.train import TrainSettings

    training = TrainSettings(
        steps=20_000 if arguments.steps is None else arguments.steps,
        batch=arguments.batch,
        lr=arguments.lr,
        ema=arguments.ema,
        mirror=arguments.mirror,
        shift=arguments.shift,
        seed=arguments.seed,
        bfloat16=bfloat16_for(arguments.out, hardware),
    )
    settings = GeneratorSettings(
        tuple(numbers(arguments.widths, "--widths")), arguments.layers, arguments.patch, training
    )
    if arguments.minutes is None:
        return settings
    steps = steps_for(arguments.minutes, part, arguments.out, settings, hardware)
    return replace(settings, train=replace(training, steps=steps))


def synth_pool_command(arguments: argparse.Namespace) -> None:
    """fimi-server synth-pool: of the generator in --out, or of a pipeline that RUN.toml names."""
    if arguments.status:
        _tell_status(arguments.out)
        return
    by_ray = wants_ray(arguments)
    _check_pool(arguments)
    config, dataset = data_of(arguments.config, arguments.data)
    from server.sources import generator_source
    from server.synth.opening import is_pipeline

    named = generator_source(config, Path() if arguments.config is None else arguments.config.resolve().parent)
    pipeline = named is not None and is_pipeline(named)
    source = named if named is not None and pipeline else _own(arguments)
    if not pipeline:
        from server.synth.make import trained_on

        trained_on(_own(arguments), dataset)  # refused now, not after its samples were made
    if by_ray:
        from server.synth.opening import files_to_send
        from server.synth.ray_workers import cluster, ray_maker

        load, workers = _load_on(arguments.device, config, dataset, _black_below(arguments, config)), arguments.workers
        with cluster(arguments.ray, workers) as ray:
            make = ray_maker(ray, load, source, files_to_send(source, config.synth), workers=workers, say=print)
            _fill(arguments, config, dataset, source, make)
    else:
        _fill(arguments, config, dataset, source)
    if pipeline:
        print(f"{arguments.out / 'pool'}: made by {source}; name it in synth.pool")
    else:
        _score(arguments, config, dataset)


def _tell_status(out: Path) -> None:
    from server.synth.store import describe, open_pool

    pool = out / "pool"
    for line in describe(open_pool(pool if pool.is_dir() else out)):
        print(line)


def _own(arguments: argparse.Namespace) -> Path:
    """The checkpoint of train-generator in --out."""
    checkpoint: Path = arguments.out / "generator.safetensors"
    return checkpoint


def _load_on(device: str, config: RunConfig, dataset: Dataset, black_below: int) -> Callable[[Path | str], Generator]:
    """Opens a checkpoint or a pipeline for the images of a data set."""
    import msgspec

    from server.synth.opening import Wanted, open_on

    synth = msgspec.structs.replace(config.synth, black_below=black_below)
    return partial(open_on, device, synth, Wanted(dataset.class_names, dataset.image_shape))


def _fill(
    arguments: argparse.Namespace,
    config: RunConfig,
    dataset: Dataset,
    source: Path | str,
    make: Maker | None = None,
) -> None:
    """Make the pool in --out; `make`: who samples, if not this process."""
    from server.synth.make import fill_pool
    from server.synth.store import describe, open_pool

    settings = _pool_settings(arguments, config)
    load = _load_on("cpu" if make is not None else arguments.device, config, dataset, settings.black_below)
    fill_pool(
        load(source),
        arguments.out / "pool",
        dataset,
        settings,
        report=lambda now: print(f"sampling: {now.line}", flush=True),
        make=make,
    )
    for line in describe(open_pool(arguments.out / "pool")):
        print(f"{arguments.out / 'pool'}: {line}")


def _score(arguments: argparse.Namespace, config: RunConfig, dataset: Dataset) -> None:
    """Score the pool of the checkpoint in --out and write its card."""
    from server.synth.make import describe_generator
    from server.synth.opening import own_sampling

    settings = replace(
        _pool_settings(arguments, config), select=config.synth.select, sampling=own_sampling(config.synth)
    )
    quality = describe_generator(dataset, arguments.out, settings)["quality"]
    print(
        f"{arguments.out}: a network trained on its samples alone is right on {quality['accuracy']:.1%} of real test "
        f"images, trained on real ones on {quality['accuracy_of_real']:.1%}"
    )


def _black_below(arguments: argparse.Namespace, config: RunConfig) -> int:
    """As given, else as the run wants; raises ConfigError where the two are at odds."""
    given, wanted = arguments.black_below, config.synth.black_below
    if given is not None and wanted not in (None, given):
        raise ConfigError(f"--black-below: {given}, but synth.black_below of RUN.toml is {wanted}; give one of the two")
    return given if given is not None else wanted or 0


def _pool_settings(arguments: argparse.Namespace, config: RunConfig) -> PoolSettings:
    from server.synth.make import PoolSettings

    black_below = _black_below(arguments, config)
    return PoolSettings(per_class=arguments.per_class, black_below=black_below, block=arguments.block)
