"""Measuring accuracy over rounds with several amounts of data, and what a target costs; no device's data are needed.

The public part is dealt to as many devices as the run will have, by the run's own partition; each gets synthetic
samples from the pool for its classes, as a plan would give it. The test part tests: it alone was hidden from the
generator, whose samples would otherwise be asked about images that it was trained on. What comes out belongs to this
data set, network, partition and training: the file says so, and a run with others refuses it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.config import DataConfig, RunConfig
from server.data.dataset import Dataset, images_digest
from server.data.partition import partition
from server.errors import DataError
from server.files import write_atomic
from server.learning.federated import FederationJob, Progression, filled, run_federation
from server.learning.made import Made
from server.learning.measure import MeasureProgress, measure
from server.learning.progressions import curves, terms
from server.learning.training import balanced_draw
from server.plan.fill import class_fill
from server.plan.whole_training import RoundCurve
from server.synth.pool import Pool, draw

FORMAT = "fimi-rounds-2"


@dataclass(frozen=True)
class RoundsSettings:
    """What is measured: a federation for each of `fill_factors` (1: local data alone) and `seeds`.

    A factor of f gives a device with n samples round((f - 1) * n) synthetic ones, as `plan.fill_factor` means it: a
    plan deals them to the cheapest devices, at the same mean error.
    """

    fill_factors: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    max_test: int = 2000
    workers: int = 2


def fit_rounds(
    config: RunConfig,
    dataset: Dataset,
    pool: Pool,
    out: Path,
    settings: RoundsSettings,
    *,
    report: Callable[[MeasureProgress[Progression]], None] = lambda _: None,
) -> tuple[RoundCurve, ...]:
    """Measure, write `out` (rounds.json). Progressions lie in `out`.points.jsonl: the same call goes on from there.

    Raises DataError where there are too few samples.
    """
    started = time.time()
    made = Made.by_class(pool.images, {})
    made.check_fits(dataset)
    data = config.data
    public = dataset.cut(data.public_fraction, data.split_seed).public
    x, y = dataset.x_train[public], dataset.y_train[public]
    groups = None if dataset.groups_train is None else dataset.groups_train[public]
    test = balanced_draw(
        dataset.y_test, min(settings.max_test, len(dataset.y_test)), np.random.default_rng(data.split_seed)
    )
    held_out = (dataset.x_test[test], dataset.y_test[test])
    network = NetworkSpec(name=config.network.name, image_shape=dataset.image_shape, n_classes=dataset.n_classes)
    facts = terms(config) | {
        "dataset": dataset.name,
        "public_digest": images_digest(x, y),
        "generator": pool.generator,
        "samples_digest": made.digest,
        "test_images": len(test),
        "test_digest": images_digest(*held_out),
    }

    def prepare(progression: Progression) -> FederationJob:
        parts = deal(data, y, np.arange(len(y)), groups, config.n_devices, progression.seed)
        counts = np.array([np.bincount(y[part], minlength=dataset.n_classes) for part in parts])
        factor = progression.fill_factor
        synthetic = np.array([class_fill(own, synthetic_of(own, factor)) for own in counts])
        short = synthetic.sum(axis=0) > pool.counts
        if short.any():
            raise DataError(
                f"a fill factor of {factor:g} takes {synthetic.sum(axis=0)[short].max()} synthetic samples of a class, "
                f"the pool has {pool.counts[short].min()}: make more with fimi-server synth-pool"
            )
        own = [(x[part], y[part]) for part in parts]
        devices = filled(own, draw(pool, synthetic, seed=progression.seed))
        return FederationJob(progression, network, config.training, devices, held_out)

    progressions = measure(
        [Progression(factor, seed) for seed in settings.seeds for factor in settings.fill_factors],
        prepare,
        run_federation,
        out.with_suffix(".points.jsonl"),
        hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        workers=settings.workers,
        report=report,
    )
    content = {
        "format": FORMAT,
        "progressions": [asdict(progression) for progression in progressions],
        "provenance": facts | {"date": time.strftime("%Y-%m-%d", time.gmtime()), "seconds": time.time() - started},
    }
    write_atomic(out, (json.dumps(content, indent=1) + "\n").encode())
    return curves(progressions)


def deal(
    data: DataConfig, labels: np.ndarray, own: np.ndarray, groups: np.ndarray | None, n_devices: int, seed: int
) -> list[np.ndarray]:
    """Indices into the public part, one array a device, dealt as the private part will be; raises DataError where
    `own` (N,) has too few."""
    if data.local_samples is not None:
        wanted = data.local_samples * n_devices
        if wanted > len(own):
            raise DataError(f"{n_devices} devices of {data.local_samples} samples need {wanted}, there are {len(own)}")
        own = np.sort(np.random.default_rng((seed, 2)).permutation(own)[:wanted])
    parts = partition(
        labels[own],
        n_devices,
        scheme=data.partition,
        seed=seed,
        alpha=data.alpha,
        classes_per_device=data.classes_per_device,
        groups=None if groups is None else groups[own],
    )
    return [own[part] for part in parts]


def synthetic_of(counts: np.ndarray, fill_factor: float) -> int:
    """Synthetic samples that make a device's data `fill_factor` times as many as its own."""
    return round((fill_factor - 1.0) * int(counts.sum()))
