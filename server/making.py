"""The commands that get or measure what runs need, once for a data set: the data, a
learning curve, accuracy over rounds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import ConfigError
from server.given import FROM_1, check_values, data_of, numbers, seeds

if TYPE_CHECKING:
    from server.config import RunConfig
    from server.data.dataset import Dataset
    from server.synth.pool import Pool


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """fetch, fit-learning and fit-rounds."""
    fetch = commands.add_parser("fetch", help="download a data set that does not ship, and verify it")
    fetch.add_argument("name", choices=["cifar10"])
    fetch.add_argument("--out", type=Path, default=Path("data/cifar10"), help="folder (default: data/cifar10)")
    fetch.add_argument("--url", help="of a mirror of cifar-10-binary.tar.gz (default: the official place)")
    fetch.set_defaults(function=fetch_command)

    fit = commands.add_parser("fit-learning", help="measure the learning curve and the worth of synthetic samples")
    fit.add_argument("--steps", type=int, default=500, help="of each training (default: 500)")
    fit.add_argument("--amounts", default="60,120,250,500,1000,2000", help="of real samples, four or more")
    fit.add_argument("--mixtures", default="120+250,120+1000,250+250,250+1000,500+1000", help="real+synthetic samples")
    fit.add_argument("--seeds", default="0,1,2", help="of every training, two or more (default: 0,1,2)")
    fit.add_argument("--workers", type=int, default=2, help="trainings side by side (default: 2)")
    fit.set_defaults(function=fit_learning_command)

    rounds = commands.add_parser("fit-rounds", help="measure accuracy over rounds with several amounts of data")
    rounds.add_argument("--fill-factors", default="1,1.5,2,3", help="times the devices' own data (default: 1,1.5,2,3)")
    rounds.add_argument("--rounds", type=int, default=None, help="of each federation (default: training.rounds)")
    rounds.add_argument("--seeds", default="0,1,2")
    rounds.add_argument("--workers", type=int, default=2, help="federations side by side (default: 2)")
    rounds.set_defaults(function=fit_rounds_command)

    for command, what in ((fit, "learning.json to write"), (rounds, "rounds.json to write")):
        command.add_argument("config", type=Path, metavar="RUN.toml", help="of a run that will use the result")
        command.add_argument("--out", type=Path, required=True, help=what)


def fetch_command(arguments: argparse.Namespace) -> None:
    """fimi-server fetch"""
    from server.data.fetch import URL, FetchProgress, fetch_cifar10

    def tell(now: FetchProgress) -> None:
        whole = "" if now.wanted_bytes is None else f" of {now.wanted_bytes / 1e6:.0f}"
        print(f"{now.done_bytes / 1e6:.0f}{whole} MB", flush=True)

    fetched = fetch_cifar10(arguments.out, arguments.url or URL, report=tell)
    print(f"{arguments.out}: the official files, verified" + ("" if fetched else "; they were there already"))


def fit_learning_command(arguments: argparse.Namespace) -> None:
    """fimi-server fit-learning"""
    check_values(arguments, {"steps": FROM_1, "workers": FROM_1})
    config, dataset = data_of(arguments.config)
    from server.learning.fit_learning import LearningSettings, fit_learning
    from server.learning.measure import MeasureProgress
    from server.learning.training import Recipe
    from server.synth.ready import samples_of

    def tell(now: MeasureProgress) -> None:
        what = f"{now.point.real} real and {now.point.synthetic} synthetic samples"
        print(
            f"{now.done} of {now.wanted}: {what}, error {now.point.error:.3f}, {now.left_s / 60:.0f} min left",
            flush=True,
        )

    training = config.training
    fit = fit_learning(
        dataset,
        samples_of(_pool_of(config, arguments.config, dataset)),
        arguments.out,
        LearningSettings(
            network=config.network.name,
            amounts=tuple(dict.fromkeys(numbers(arguments.amounts, "--amounts"))),
            mixtures=tuple(dict.fromkeys(_mixture(text) for text in arguments.mixtures.split(","))),
            seeds=tuple(dict.fromkeys(seeds(arguments.seeds))),
            recipe=Recipe(
                steps=arguments.steps,
                batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                momentum=training.momentum,
                clip_norm=training.clip_norm,
                weight_decay=training.weight_decay,
            ),
            public_fraction=config.data.public_fraction,
            split_seed=config.data.split_seed,
            workers=arguments.workers,
        ),
        report=tell,
    )
    print(
        f"{arguments.out}: error = {fit.alpha:.3f} * x**-{fit.beta:.3f} + {fit.gamma:.3f} (R2 {fit.r2:.3f}), "
        f"a synthetic sample is worth {fit.eta:.2f} real ones ({fit.intervals['eta'][0]:.2f} to "
        f"{fit.intervals['eta'][1]:.2f})"
    )


def fit_rounds_command(arguments: argparse.Namespace) -> None:
    """fimi-server fit-rounds"""
    check_values(arguments, {"rounds": FROM_1, "workers": FROM_1})
    config, dataset = data_of(arguments.config)
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
        _pool_of(config, arguments.config, dataset),
        arguments.out,
        RoundsSettings(
            fill_factors=tuple(_factors(arguments.fill_factors)),
            seeds=tuple(dict.fromkeys(seeds(arguments.seeds))),
            workers=arguments.workers,
        ),
        report=tell,
    )
    for curve in found:
        print(
            f"{curve.fill_factor:g} times the data: accuracy {curve.monotone[-1]:.3f} "
            f"after {len(curve.monotone)} rounds"
        )


def _pool_of(config: RunConfig, config_file: Path, dataset: Dataset) -> Pool:
    from server.sampling import ready_pool
    from server.synth.opening import Wanted

    return ready_pool(config, config_file.resolve().parent, Wanted(dataset.class_names, dataset.image_shape))


def _factors(text: str) -> list[float]:
    try:
        factors = [float(part) for part in text.split(",")]
    except ValueError:
        factors = []
    if not factors or min(factors) < 1 or len(set(factors)) < len(factors):
        raise ConfigError(f"--fill-factors: {text!r}; different numbers of 1 or more with commas between them")
    return factors


def _mixture(text: str) -> tuple[int, int]:
    real, _, synthetic = text.partition("+")
    if not (real.isdecimal() and synthetic.isdecimal()):
        raise ConfigError(f"--mixtures: {text!r}; write REAL+SYNTHETIC samples, as in 120+250")
    return int(real), int(synthetic)
