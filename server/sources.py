"""Where a run's measured learning curve and its synthetic samples come from: files of yours, or those that ship with
the data set. Nobody types these numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from server.config import RunConfig, SynthConfig
from server.data.dataset import Dataset, images_digest
from server.data.fashion_mnist import FROM_A_CLONE
from server.errors import DataError
from server.files import write_atomic
from server.plan.problem import LearningCurve
from server.run_dir import RunDir, RunInfo
from server.synth.opening import HUB, Wanted, is_pipeline, judges_folder, look_at, open_generator, own_sampling

if TYPE_CHECKING:
    from server.synth.generator import Generator

ASSETS = Path(__file__).resolve().parent / "assets"
SHIPPED = {
    "fashion-mnist": ("learning.json", "generator.safetensors", "pool"),
    "gtsrb": ("generator.safetensors",),
    "cifar10": ("generator.safetensors",),
}
"""What is there in ASSETS, in folders named as data sources. Not for the full Fashion-MNIST: its private part holds
what trained this one."""
EMBEDDED = "fashion-mnist"
"""Its images ship as well: without them an install is not whole. Generators of other data may be there or not."""

NO_GENERATOR = "no generator for {}: train one with fimi-server train-generator and name it in synth.generator"


class Measured(msgspec.Struct, frozen=True):
    """Of what a learning curve is: as much as a run can compare itself with."""

    dataset: str | None = None
    public_digest: str | None = None
    network: str | None = None
    generator: str | None = None


class LearningFile(msgspec.Struct, frozen=True):
    """What is read of learning.json; a file that people wrote may have no provenance."""

    alpha: float
    beta: float
    gamma: float
    eta: float
    provenance: Measured = Measured()


def asset(config: RunConfig, base: Path, given: str | None, name: str) -> Path | None:
    """The path a user gave, else the shipped file of the data set, None where it has none.

    Raises DataError where what should have been shipped is not there.
    """
    if given is not None:
        return base / Path(given).expanduser()
    source = config.data.source.partition(":")[0]
    if name not in SHIPPED.get(source, ()):
        return None
    path = ASSETS / source / name
    if path.exists():
        return path
    if source == EMBEDDED:
        raise DataError(f"{path} is not there; {FROM_A_CLONE}")
    return None


def needs_synthetic(config: RunConfig) -> bool:
    """Whether any strategy of the run uses synthetic samples."""
    return any(strategy in ("fill", "fimi") for strategy in config.strategies)


def check_sources(config: RunConfig, base: Path) -> None:
    """Raise DataError now rather than after the devices have been measured, if something is missing."""
    if not needs_synthetic(config):
        return
    learning_values(config, base)
    pool = pool_path(config, base)
    generator = generator_source(config, base)
    for path, name in ((pool, "synth.pool"), (generator, "synth.generator")):
        if isinstance(path, Path) and not path.exists():
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


def generator_source(config: RunConfig, base: Path) -> Path | str | None:
    """What makes the run's samples: a file or folder, hub:OWNER/NAME as it stands, None where there is nothing: the one
    that ships does not go with a pool of the user's own."""
    given = config.synth.generator
    if given is None and config.synth.pool is not None:
        return None
    if given is not None and given.startswith(HUB):
        return given
    return asset(config, base, given, "generator.safetensors")


def check_generator(
    config: RunConfig, base: Path, data: Dataset, public: np.ndarray, say: Callable[[str], None] = lambda _: None
) -> None:
    """Raise DataError if the generator, or a judge of its samples, was trained on other images than this run's public
    part (indices `public`).

    A pipeline that others trained was not, and what it has seen nobody knows: `say` is told so. It is looked at here,
    so that what is wrong with it is found before devices are measured.
    """
    source = generator_source(config, base)
    if not needs_synthetic(config):
        return
    seen = images_digest(data.x_train[public], data.y_train[public])
    if source is None:
        from server.synth.card import check_pool_trained_on
        from server.synth.store import open_pool

        if (pool := pool_path(config, base)) is not None:
            made_by = {kind.generator for kind in open_pool(pool).kinds()}
            check_pool_trained_on(pool.resolve(), made_by, seen, say)
        return
    if config.synth.select:
        from server.synth.judges import load_judges

        load_judges(judges_folder(source), seen)
    if is_pipeline(source):
        say(look_at(source, config.synth, Wanted(data.class_names, data.image_shape)).describe())
        return
    own_sampling(config.synth)
    from server.synth.card import check_trained_on

    check_trained_on(Path(source), seen)


def learning_values(config: RunConfig, base: Path) -> tuple[LearningCurve, float]:
    """The learning curve and eta, the worth of a synthetic sample; raises DataError where they were not measured."""
    _, values = _learning_file(config, base)
    return LearningCurve(values.alpha, values.beta, values.gamma), values.eta


def check_learning(
    config: RunConfig, base: Path, data: Dataset, public: np.ndarray, generator: str | None, say: Callable[[str], None]
) -> None:
    """Raise DataError where the learning curve is of another data set than this run's; `say` where it is of another cut
    of it, another network or the samples of another generator (digest `generator`): a plan rests on it all the same."""
    if not needs_synthetic(config):
        return
    path, values = _learning_file(config, base)
    of, network = values.provenance, config.network.name
    seen = images_digest(data.x_train[public], data.y_train[public])
    if of.public_digest not in (None, seen):
        if of.dataset != data.name:
            raise DataError(
                f"{path} was measured on {of.dataset}, this run is of {data.name}: measure one with fimi-server "
                "fit-learning and name it in plan.learning"
            )
        say(f"note: {path} was measured on another public part of {data.name} than this run's")
    if of.network not in (None, network):
        say(f"note: {path} was measured with {of.network}, not {network}: errors of {network} may be others")
    if generator is not None and of.generator not in (None, generator):
        say(
            f"note: {path} was measured with samples of generator {str(of.generator)[:16]}, this run's are of "
            f"{generator[:16]}: they may be worth more or less than it says (fimi-server fit-learning measures it)"
        )


def _learning_file(config: RunConfig, base: Path) -> tuple[Path, LearningFile]:
    path = asset(config, base, config.plan.learning, "learning.json")
    own = config.synth.generator or config.synth.pool
    if config.plan.learning is None and own is not None and path is not None:
        raise DataError(
            f"the learning curve that ships is of the samples that ship, not of {own}: measure one with fimi-server "
            "fit-learning and name it in plan.learning"
        )
    if path is None:
        raise DataError(
            f"no learning curve for {config.data.source}: measure one with fimi-server fit-learning and name it in "
            "plan.learning"
        )
    try:
        return path, msgspec.json.decode(path.read_bytes(), type=LearningFile)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; make it with: fimi-server fit-learning") from None
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is no result of fit-learning: {error}") from error


def keep_sources(config: RunConfig, base: Path, folder: RunDir) -> None:
    """Copy the learning curve and the generator's card into the run directory: they say where its plans came from."""
    if not needs_synthetic(config):
        return
    learning = asset(config, base, config.plan.learning, "learning.json")
    generator = generator_source(config, base)
    card = None
    if generator is not None and not is_pipeline(generator):
        card = Path(generator).with_name("generator-card.json")
    elif generator is not None and not folder.has("generator-card.json"):
        about = look_at(generator, config.synth, wanted_of(folder)).card
        write_atomic(folder.path / "generator-card.json", (json.dumps(about, indent=1) + "\n").encode())
    for path, name in ((learning, "learning.json"), (card, "generator-card.json")):
        if path is not None and path.exists() and not folder.has(name):
            write_atomic(folder.path / name, path.read_bytes())


def run_generator(config: RunConfig, base: Path, wanted: Callable[[], Wanted]) -> Generator:
    """The one of a run, opened, with its selection; raises DataError where it has none, and as `open_generator`."""
    source = generator_source(config, base)
    if source is None:
        raise DataError(NO_GENERATOR.format(config.data.source))
    return open_generator(source, settled(config, base), wanted)


def settled(config: RunConfig, base: Path) -> SynthConfig:
    """[synth] with what a generator depends on and only the pool says: selection judges images as they will be."""
    if not config.synth.select:
        return config.synth
    return msgspec.structs.replace(config.synth, black_below=black_below(config, base))


def black_below(config: RunConfig, base: Path) -> int:
    """Of samples that a run makes itself: as configured, else as the run's pool has it, else 0."""
    from server.synth.ready import black_below_of
    from server.synth.store import open_pool

    if config.synth.black_below is not None:
        return config.synth.black_below
    pool = pool_path(config, base)
    return (black_below_of(open_pool(pool), "synth.black_below") or 0) if pool is not None else 0


def wanted_of(folder: RunDir) -> Wanted:
    """What images a run that is under way is in need of."""
    info = folder.load("run.json", RunInfo)
    return Wanted(info.class_names, info.network.image_shape)
