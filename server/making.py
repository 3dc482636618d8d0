"""The commands that get or make what runs need, once for a data set: the data, a generator, a pool of its samples, a
learning curve."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import ConfigError, DataError

if TYPE_CHECKING:
    from server.config import RunConfig
    from server.data.dataset import Dataset
    from server.synth.diffusion import Sampling
    from server.synth.pool import Pool


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """fetch, train-generator, synth-pool and fit-learning."""
    fetch = commands.add_parser("fetch", help="download a data set that does not ship, and verify it")
    fetch.add_argument("name", choices=["cifar10"])
    fetch.add_argument("--out", type=Path, default=Path("data/cifar10"), help="folder (default: data/cifar10)")
    fetch.add_argument("--url", help="of a mirror of cifar-10-binary.tar.gz (default: the official place)")
    fetch.set_defaults(function=fetch_command)

    train = commands.add_parser("train-generator", help="train a generator on the public part, and make its pool")
    train.add_argument("--steps", type=int, default=20_000, help="of training (default: 20000, hours on two cores)")
    train.add_argument("--batch", type=int, default=64, help="images a step (default: 64)")
    train.add_argument("--widths", default="64,96", help="channels of the network's levels (default: 64,96)")
    mirror = "show images mirrored, too: for things, whose left may be their right; not for signs and letters"
    train.add_argument("--mirror", action="store_true", help=mirror)
    train.set_defaults(function=train_generator_command)

    pool = commands.add_parser("synth-pool", help="fill the pool of a generator that is there")
    pool.set_defaults(function=synth_pool_command)

    fit = commands.add_parser("fit-learning", help="measure the learning curve and the worth of synthetic samples")
    fit.add_argument("--steps", type=int, default=500, help="of each training (default: 500)")
    fit.add_argument("--amounts", default="60,120,250,500,1000,2000", help="of real samples, four or more")
    fit.add_argument("--mixtures", default="120+250,120+1000,250+250,250+1000,500+1000", help="real+synthetic samples")
    fit.add_argument("--seeds", default="0,1,2")
    fit.add_argument("--workers", type=int, default=2, help="trainings side by side (default: 2)")
    fit.set_defaults(function=fit_learning_command)

    rounds = commands.add_parser("fit-rounds", help="measure accuracy over rounds with several amounts of data")
    rounds.add_argument("--fill-factors", default="1,1.5,2,3", help="times the devices' own data (default: 1,1.5,2,3)")
    rounds.add_argument("--rounds", type=int, default=None, help="of each federation (default: training.rounds)")
    rounds.add_argument("--seeds", default="0,1,2")
    rounds.add_argument("--workers", type=int, default=2, help="federations side by side (default: 2)")
    rounds.set_defaults(function=fit_rounds_command)

    for command, what in (
        (train, "folder"),
        (pool, "folder of the generator"),
        (fit, "learning.json to write"),
        (rounds, "rounds.json to write"),
    ):
        command.add_argument("config", type=Path, metavar="RUN.toml", help="of a run that will use the result")
        command.add_argument("--out", type=Path, required=True, help=what)
    for command in (train, pool):
        command.add_argument("--per-class", type=int, default=1200, help="samples in the pool (default: 1200)")
        command.add_argument("--black-below", type=int, default=0, help="darker pixels are made 0 (default: 0)")


def fetch_command(arguments: argparse.Namespace) -> None:
    """fimi-server fetch"""
    from server.data.fetch import URL, FetchProgress, fetch_cifar10

    def tell(now: FetchProgress) -> None:
        whole = "" if now.wanted_bytes is None else f" of {now.wanted_bytes / 1e6:.0f}"
        print(f"{now.done_bytes / 1e6:.0f}{whole} MB", flush=True)

    fetched = fetch_cifar10(arguments.out, arguments.url or URL, report=tell)
    print(f"{arguments.out}: the official files, verified" + ("" if fetched else "; they were there already"))


def train_generator_command(arguments: argparse.Namespace) -> None:
    """fimi-server train-generator"""
    config, dataset = _data_of(arguments.config)
    from server.synth.make import GeneratorSettings, PoolSettings, train_generator
    from server.synth.pool import SynthProgress
    from server.synth.train import Progress, TrainSettings

    def on_training(now: Progress) -> None:
        left = f"{now.left_s / 60:.0f} min left"
        print(
            f"step {now.step} of {now.steps}, loss {now.loss:.4f}, {now.images_per_s:.0f} images/s, {left}", flush=True
        )

    def on_sampling(now: SynthProgress) -> None:
        print(f"sampling: {now.done} of {now.wanted}", flush=True)

    card = train_generator(
        dataset,
        arguments.out,
        GeneratorSettings(
            public_fraction=config.data.public_fraction,
            split_seed=config.data.split_seed,
            widths=tuple(_numbers(arguments.widths, "--widths")),
            train=TrainSettings(steps=arguments.steps, batch=arguments.batch, mirror=arguments.mirror),
        ),
        PoolSettings(per_class=arguments.per_class, black_below=arguments.black_below, sampling=_sampling(config)),
        on_training=on_training,
        on_sampling=on_sampling,
    )
    quality = card["quality"]
    print(
        f"{arguments.out}: a network trained on its samples alone is right on {quality['accuracy']:.1%} of real test "
        f"images, trained on real ones on {quality['accuracy_of_real']:.1%}"
    )


def synth_pool_command(arguments: argparse.Namespace) -> None:
    """fimi-server synth-pool"""
    config, dataset = _data_of(arguments.config)
    from server.synth.make import PoolSettings, make_pool

    settings = PoolSettings(
        per_class=arguments.per_class, black_below=arguments.black_below, sampling=_sampling(config)
    )
    pool = make_pool(
        arguments.out / "generator.safetensors",
        arguments.out / "pool",
        dataset,
        settings,
        report=lambda now: print(f"sampling: {now.done} of {now.wanted}", flush=True),
    )
    print(f"{arguments.out / 'pool'}: {int(pool.counts.sum())} samples")


def fit_learning_command(arguments: argparse.Namespace) -> None:
    """fimi-server fit-learning"""
    config, dataset = _data_of(arguments.config)
    from server.learning.fit_learning import LearningSettings, fit_learning
    from server.learning.measure import MeasureProgress
    from server.learning.training import Recipe

    def tell(now: MeasureProgress) -> None:
        what = f"{now.point.real} real and {now.point.synthetic} synthetic samples"
        print(
            f"{now.done} of {now.wanted}: {what}, error {now.point.error:.3f}, {now.left_s / 60:.0f} min left",
            flush=True,
        )

    training = config.training
    fit = fit_learning(
        dataset,
        _pool_of(config, arguments.config),
        arguments.out,
        LearningSettings(
            network=config.network.name,
            amounts=tuple(_numbers(arguments.amounts, "--amounts")),
            mixtures=tuple(_mixture(text) for text in arguments.mixtures.split(",")),
            seeds=tuple(_numbers(arguments.seeds, "--seeds")),
            recipe=Recipe(
                steps=arguments.steps,
                batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                momentum=training.momentum,
                clip_norm=training.clip_norm,
            ),
            public_fraction=config.data.public_fraction,
            split_seed=config.data.split_seed,
            workers=arguments.workers,
        ),
        report=tell,
    )
    print(
        f"{arguments.out}: error = {fit.alpha:.3f} * x**-{fit.beta:.3f} + {fit.gamma:.3f} (R2 {fit.r2:.3f}), "
        f"a synthetic sample is worth {fit.eta:.2f} real ones"
    )


def fit_rounds_command(arguments: argparse.Namespace) -> None:
    """fimi-server fit-rounds"""
    config, dataset = _data_of(arguments.config)
    import msgspec

    from server.learning.federated import Progression
    from server.learning.fit_rounds import RoundsSettings, fit_rounds
    from server.learning.measure import MeasureProgress

    def tell(now: MeasureProgress[Progression]) -> None:
        end = f"accuracy {now.point.accuracy[-1]:.3f} after {len(now.point.accuracy)} rounds"
        print(
            f"{now.done} of {now.wanted}: {now.point.fill_factor:g} times the data, seed {now.point.seed}: {end}, "
            f"{now.left_s / 60:.0f} min left",
            flush=True,
        )

    if arguments.rounds is not None:
        config = msgspec.structs.replace(
            config, training=msgspec.structs.replace(config.training, rounds=arguments.rounds)
        )
    found = fit_rounds(
        config,
        dataset,
        _pool_of(config, arguments.config),
        arguments.out,
        RoundsSettings(
            fill_factors=tuple(_factors(arguments.fill_factors)),
            seeds=tuple(_numbers(arguments.seeds, "--seeds")),
            workers=arguments.workers,
        ),
        report=tell,
    )
    for curve in found:
        print(
            f"{curve.fill_factor:g} times the data: accuracy {curve.monotone[-1]:.3f} "
            f"after {len(curve.monotone)} rounds"
        )


def _data_of(config_file: Path) -> tuple[RunConfig, Dataset]:
    from server.config import load_config
    from server.data.load import load_dataset

    config = load_config(config_file)
    data = config.data
    base = config_file.resolve().parent
    return config, load_dataset(data.source, image_size=data.image_size, seed=data.split_seed, base=base)


def _pool_of(config: RunConfig, config_file: Path) -> Pool:
    from server.sources import asset
    from server.synth.pool import load_pool

    path = asset(config, config_file.resolve().parent, config.synth.pool, "pool")
    if path is None:
        raise DataError(
            f"no pool for {config.data.source}: make one with fimi-server train-generator, name it in synth.pool"
        )
    return load_pool(path)


def _factors(text: str) -> list[float]:
    try:
        factors = [float(part) for part in text.split(",")]
    except ValueError:
        factors = []
    if not factors or min(factors) < 1 or len(set(factors)) < len(factors):
        raise ConfigError(f"--fill-factors: {text!r}; different numbers of 1 or more with commas between them")
    return factors


def _sampling(config: RunConfig) -> Sampling:
    from server.synth.diffusion import Sampling

    return Sampling(steps=config.synth.steps, guidance=config.synth.guidance)


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option}: {text!r}; whole numbers with commas between them") from None


def _mixture(text: str) -> tuple[int, int]:
    real, _, synthetic = text.partition("+")
    if not (real.isdecimal() and synthetic.isdecimal()):
        raise ConfigError(f"--mixtures: {text!r}; write REAL+SYNTHETIC samples, as in 120+250")
    return int(real), int(synthetic)
