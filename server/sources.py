"""Where a run's measured learning curve and its synthetic samples come from: files of yours, or those that ship with
the data set. Nobody types these numbers."""

from __future__ import annotations

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
from server.run_dir import RunDir

if TYPE_CHECKING:
    from server.synth.generator import Generator

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
    if pool is not None:
        from server.synth.store import open_pool

        open_pool(pool)
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


def _generator(config: RunConfig, base: Path) -> Generator:
    path = asset(config, base, config.synth.generator, "generator.safetensors")
    if path is None:
        raise DataError(NO_GENERATOR.format(config.data.source))
    from server.synth.diffusion import Sampling, load_generator

    return load_generator(path, Sampling(steps=config.synth.steps, guidance=config.synth.guidance))
