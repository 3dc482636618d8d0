"""Where a run's measured learning curve and its synthetic samples come from: files of yours, or those that ship with
the data set. Nobody types these numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from server.config import RunConfig
from server.data.dataset import Dataset, images_digest
from server.data.fashion_mnist import FROM_A_CLONE
from server.errors import DataError
from server.files import write_atomic
from server.plan.problem import LearningCurve
from server.run_dir import RunDir, RunInfo
from server.synth.generator import Stop, never

if TYPE_CHECKING:
    from server.synth.generator import Generator
    from server.synth.pool import Pool

ASSETS = Path(__file__).resolve().parent / "assets"
SHIPPED = {"fashion-mnist": "fashion-mnist"}
"""Folders of ASSETS by data source. Not for the full Fashion-MNIST: its private part holds what trained this one."""


NO_GENERATOR = "no generator for {}: train one with fimi-server train-generator and name it in synth.generator"


class LearningFile(msgspec.Struct, frozen=True):
    """What is read of learning.json; provenance stands beside it in the file."""

    alpha: float
    beta: float
    gamma: float
    eta: float


def asset(config: RunConfig, base: Path, given: str | None, name: str) -> Path | None:
    """The path a user gave, else the shipped file of the data set, None where it has none.

    Raises DataError where what should have been shipped is not there.
    """
    if given is not None:
        return base / Path(given).expanduser()
    folder = SHIPPED.get(config.data.source)
    if folder is None:
        return None
    if not (ASSETS / folder / name).exists():
        raise DataError(f"{ASSETS / folder / name} is not there; {FROM_A_CLONE}")
    return ASSETS / folder / name


def needs_synthetic(config: RunConfig) -> bool:
    """Whether any strategy of the run uses synthetic samples."""
    return any(strategy in ("fill", "fimi") for strategy in config.strategies)


def check_sources(config: RunConfig, base: Path) -> None:
    """Raise DataError now rather than after the devices have been measured, if something is missing."""
    if not needs_synthetic(config):
        return
    learning_values(config, base)
    pool = pool_path(config, base)
    generator = asset(config, base, config.synth.generator, "generator.safetensors")
    for path, name in ((pool, "synth.pool"), (generator, "synth.generator")):
        if path is not None and not path.exists():
            raise DataError(f"{name}: {path} does not exist")
    if generator is None and (pool is None or config.synth.fresh):
        raise DataError(NO_GENERATOR.format(config.data.source))


def pool_path(config: RunConfig, base: Path) -> Path | None:
    """The pool of ready samples; a generator of the user's own does not go with the pool that ships."""
    if config.synth.pool is None and config.synth.generator is not None:
        return None
    return asset(config, base, config.synth.pool, "pool")


def check_generator(config: RunConfig, base: Path, data: Dataset, public: np.ndarray) -> None:
    """Raise DataError if the generator was trained on other images than this run's public part (indices `public`)."""
    path = asset(config, base, config.synth.generator, "generator.safetensors")
    if not needs_synthetic(config) or path is None:
        return
    from server.synth.card import check_trained_on

    check_trained_on(path, images_digest(data.x_train[public], data.y_train[public]))


def learning_values(config: RunConfig, base: Path) -> tuple[LearningCurve, float]:
    """The learning curve and eta, the worth of a synthetic sample; raises DataError where they were not measured."""
    path = asset(config, base, config.plan.learning, "learning.json")
    if path is None:
        raise DataError(
            f"no learning curve for {config.data.source}: measure one with fimi-server fit-learning and name it in "
            "plan.learning"
        )
    try:
        values = msgspec.json.decode(path.read_bytes(), type=LearningFile)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; make it with: fimi-server fit-learning") from None
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is no result of fit-learning: {error}") from error
    return LearningCurve(values.alpha, values.beta, values.gamma), values.eta


def keep_sources(config: RunConfig, base: Path, folder: RunDir) -> None:
    """Copy the learning curve and the generator's card into the run directory: they say where its plans came from."""
    if not needs_synthetic(config):
        return
    learning = asset(config, base, config.plan.learning, "learning.json")
    generator = asset(config, base, config.synth.generator, "generator.safetensors")
    card = None if generator is None else generator.with_name("generator-card.json")
    for path, name in ((learning, "learning.json"), (card, "generator-card.json")):
        if path is not None and path.exists() and not folder.has(name):
            write_atomic(folder.path / name, path.read_bytes())


def synthetic_samples(
    config: RunConfig,
    base: Path,
    folder: RunDir,
    counts: np.ndarray,
    say: Callable[[str], None],
    stop: Stop = never,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Counts (I, C) -> images and labels of each device: from the pool, or sampled where it does not reach.

    No device gets a sample twice; devices share samples only where all together want more than there are. Where `stop`
    asks for an early end, raises Stopped and keeps what was sampled.
    """
    from server.synth.pool import SynthProgress, draw, grow, load_pool

    def tell(progress: SynthProgress) -> None:
        say(f"sampling: {progress.done} of {progress.wanted}")

    own = folder.path / ("pool-fresh" if config.synth.fresh else "pool")  # grown by this run
    pool = load_pool(own) if (own / "pool.json").is_file() else _ready_pool(config, base)
    wanted = counts.sum(axis=0) if config.synth.fresh else counts.max(axis=0)
    if pool is None or (pool.counts < wanted).any():
        generator = _generator(config, base)
        if pool is None:
            pool = _new_pool(config, base, folder, generator)
        pool = grow(pool, generator, wanted, folder=own, report=tell, stop=stop)
    return draw(pool, counts, seed=config.seed)


def _ready_pool(config: RunConfig, base: Path) -> Pool | None:
    """The one that was made before the run, None where there is none or new samples are asked for."""
    path = None if config.synth.fresh else pool_path(config, base)
    if path is None:
        return None
    from server.synth.pool import load_pool

    pool = load_pool(path)
    generator = asset(config, base, config.synth.generator, "generator.safetensors")
    if generator is not None and _generator(config, base).digest != pool.generator:
        raise DataError(
            f"the pool at {path} was not made by this run's generator with {config.synth.steps} steps and guidance "
            f"{config.synth.guidance:g}: make one with fimi-server synth-pool, or set synth.fresh = true"
        )
    return pool


def _new_pool(config: RunConfig, base: Path, folder: RunDir, generator: Generator) -> Pool:
    """Empty, of this run alone: its seeds are none that a shipped pool (base seed 0) was made of."""
    from server.synth.pool import empty_pool

    network = folder.load("run.json", RunInfo).network
    return empty_pool(
        generator.digest,
        network.n_classes,
        network.image_shape,
        base_seed=config.seed + 1,
        black_below=_black_below(config, base),
    )


def _black_below(config: RunConfig, base: Path) -> int:
    """As in the pool that was made before the run, 0 where there is none."""
    from server.synth.pool import load_pool

    ready = pool_path(config, base)
    return 0 if ready is None else load_pool(ready).black_below


def _generator(config: RunConfig, base: Path) -> Generator:
    path = asset(config, base, config.synth.generator, "generator.safetensors")
    if path is None:
        raise DataError(NO_GENERATOR.format(config.data.source))
    from server.synth.diffusion import Sampling, load_generator
    from server.synth.selection import selected

    generator = load_generator(path, Sampling(steps=config.synth.steps, guidance=config.synth.guidance))
    black_below = _black_below(config, base) if config.synth.select else 0
    return selected(generator, path.parent, config.synth.select, black_below=black_below)
