"""What the devices of a run get: from ready samples first, the rest made once and kept where other runs find it.

A run deals from the first so many samples of each class: as many as its ready pool holds, or as its plan takes where
that is more. What a store holds beyond that changes how long it takes, never who gets what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from server import sources
from server.config import RunConfig
from server.data.dataset import Dataset
from server.errors import DataError
from server.run_dir import RunDir, RunInfo
from server.synth.filling import Maker, Stock, SynthProgress, fill, made_here
from server.synth.generator import Generator, Stop, never
from server.synth.opening import Wanted, files_to_send, is_pipeline, open_on, own_sampling
from server.synth.pool import Pool, read_pool
from server.synth.store import Kind, Store, only, open_pool


@dataclass(frozen=True)
class Supply:
    """Where a run's samples come from. `ready` (C,): samples that were made before any run."""

    stock: Stock
    ready: np.ndarray
    shared: bool  # devices may get the same samples; else every device has its own
    make: Maker

    def reach(self, counts: np.ndarray) -> np.ndarray:
        """Counts (I, C) -> (C,) samples of each class, in whole blocks, that they are dealt from."""
        wanted = counts.max(axis=0) if self.shared else counts.sum(axis=0)
        return self.stock.kind.whole(np.maximum(self.ready, wanted))


def synthetic_samples(
    config: RunConfig,
    base: Path,
    folder: RunDir,
    counts: np.ndarray,
    say: Callable[[str], None],
    stop: Stop = never,
    make: Maker | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Counts (I, C) -> images and labels of each device: those that are there, the rest made now, by `make` if given.

    No device gets a sample twice; devices share samples only where all together want more than there are ready, and
    never with synth.fresh. Where `stop` asks for an early end, raises Stopped and keeps what was made.
    """
    supply = open_supply(config, base, folder)
    reach = supply.reach(counts)
    handed = counts.sum(axis=0)
    if (handed > reach).any():
        say(
            f"note: devices share samples, {np.minimum(handed, reach).sum()} different ones of {handed.sum()}, which "
            "the plan takes for all different: a pool of more (fimi-server synth-pool), or synth.fresh, gives each "
            "its own"
        )

    def tell(progress: SynthProgress) -> None:
        say(f"sampling: {progress.line}")

    fill(supply.stock, reach, make or supply.make, report=tell, stop=stop)
    return supply.stock.draw(counts, reach, seed=config.seed)


def open_supply(config: RunConfig, base: Path, folder: RunDir) -> Supply:
    """The run's ready pool, the store for what it makes itself, and its generator; raises DataError where they do not
    go together."""

    @cache
    def load() -> Generator:
        return sources.run_generator(config, base, lambda: sources.wanted_of(folder))

    own, fresh = Store(store_path(config, base, folder)), config.synth.fresh
    path = sources.pool_path(config, base)
    if path is None or fresh:
        network = folder.load("run.json", RunInfo).network
        height, width, channels = network.image_shape
        kind = Kind(
            generator=load().digest,
            n_classes=network.n_classes,
            image_shape=(height, width, channels),
            base_seed=config.seed + 1 if fresh else 0,  # ready pools and runs that share theirs are made from 0
            black_below=sources.black_below(config, base),
        )
        none = np.zeros(kind.n_classes, dtype=np.int64)
        return Supply(Stock(kind, own), none, shared=not fresh, make=made_here(load))
    ready = open_pool(path)
    has_generator = sources.generator_source(config, base) is not None
    kind = ready_kind(config, base, ready, load().digest if has_generator else None)
    return Supply(Stock(kind, own, (ready,)), ready.counts(kind), shared=True, make=made_here(load))


def ready_kind(config: RunConfig, base: Path, pool: Store, digest: str | None) -> Kind:
    """What of a pool a run uses: samples of its generator (of any, where it has none), as synth.black_below says."""
    black = config.synth.black_below
    kinds = [kind for kind in pool.kinds() if black in (None, kind.black_below)]
    own = [kind for kind in kinds if digest in (None, kind.generator)]
    found = only(own, pool.root)
    if found is not None:
        return found
    if kinds:
        settings = "these prompts or labels, steps and guidance"
        source = sources.generator_source(config, base)
        if source is None or not is_pipeline(source):
            settings = own_sampling(config.synth).name
        if config.synth.select:
            settings += f", selected at {config.synth.select:g}"
        raise DataError(
            f"the pool at {pool.root} was not made by this run's generator with {settings}: make one with "
            "fimi-server synth-pool, or set synth.fresh = true"
        )
    raise DataError(f"the pool at {pool.root} holds no samples with black_below {black}; leave synth.black_below out")


def ready_pool(config: RunConfig, base: Path, wanted: Wanted) -> Pool:
    """All of a run's ready pool, for measurements; raises DataError where there is none, or several that would do."""
    path = sources.pool_path(config, base)
    if path is None:
        raise DataError(
            f"no pool for {config.data.source}: make one with fimi-server train-generator or synth-pool, name it in "
            "synth.pool"
        )
    store = open_pool(path)
    digest = None
    if sources.generator_source(config, base) is not None:
        digest = sources.run_generator(config, base, lambda: wanted).digest
    return read_pool(store, ready_kind(config, base, store, digest))


def check_samples(config: RunConfig, base: Path, data: Dataset) -> str | None:
    """The digest of the generator of a run's samples, None for a run without any.

    Raises DataError now, before devices are measured, where the run's ready pool is not its generator's.
    """
    if not sources.needs_synthetic(config):
        return None
    digest = None
    if sources.generator_source(config, base) is not None:
        digest = sources.run_generator(config, base, lambda: Wanted(data.class_names, data.image_shape)).digest
    path = sources.pool_path(config, base)
    if path is None or config.synth.fresh:
        return digest
    kind = ready_kind(config, base, open_pool(path), digest)
    check_kind(kind, data)
    return kind.generator


def check_kind(kind: Kind, data: Dataset) -> None:
    """Raise DataError unless such samples are images as the data set's, of as many classes."""
    if (kind.image_shape, kind.n_classes) != (data.image_shape, data.n_classes):
        raise DataError(
            f"the pool's samples are {kind.image_shape} of {kind.n_classes} classes, {data.name} is "
            f"{data.image_shape} of {data.n_classes}"
        )


def store_path(config: RunConfig, base: Path, folder: RunDir) -> Path:
    """Where samples that runs make are kept: synth.store, else beside the run directories."""
    if config.synth.store is None:
        return folder.path.parent / "samples"
    return base / Path(config.synth.store).expanduser()


@contextmanager
def made_for_run(
    config: RunConfig, base: Path, folder: RunDir, address: str, workers: int | None, say: Callable[[str], None]
) -> Iterator[Maker]:
    """Ray's makers of a run's samples, on GPUs where a worker has one; see `ray_workers.cluster`."""
    from server.synth.ray_workers import cluster, ray_maker

    with cluster(address, workers) as ray:
        source = sources.generator_source(config, base)
        if source is None:
            raise DataError(sources.NO_GENERATOR.format(config.data.source))
        synth = sources.settled(config, base)
        load = partial(open_on, "auto", synth, sources.wanted_of(folder))
        yield ray_maker(ray, load, source, files_to_send(source, synth), workers=workers, say=say)


def sample_ahead(
    supply: Supply, counts: np.ndarray, spare_blocks: int, *, stop: Stop, report: Callable[[SynthProgress], None]
) -> None:
    """Make what a plan of counts (I, C) will want, and `spare_blocks` blocks more of each class that it uses."""
    spare = np.where(counts.any(axis=0), spare_blocks * supply.stock.kind.block, 0)
    fill(supply.stock, supply.reach(counts) + spare, supply.make, report=report, stop=stop)
