"""Measuring how the error falls with a device's data, and what a synthetic sample is worth - on the public part alone.

The public part is cut again: networks are trained on amounts of A and tested on B. The generator was trained on all
of the public part, B included; what it may have kept of B makes eta look a little better than it is. That is said in
the file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.data.dataset import Dataset, cut_public_private, images_digest
from server.errors import DataError
from server.files import write_atomic
from server.learning.curve import Fit, Point, fit_all
from server.learning.measure import Job, MeasureProgress, measure, run_job
from server.learning.training import Recipe, balanced_draw
from server.run_dir import versions
from server.synth.pool import Pool

FORMAT = "fimi-learning-1"
CAVEAT = (
    "Part B was not trained on here, but the generator was trained on the whole public part, B included: eta may be "
    "a little too high."
)


@dataclass(frozen=True)
class LearningSettings:
    """What is measured. `amounts` of real samples, `mixtures` of (real, synthetic) samples, each with each of `seeds`.

    `public_fraction` and `split_seed` must be those of the runs that will use the result; `held_out` is part B's
    share of the public part, `max_test` bounds how many of its images are tested on; `refits` make the intervals.
    """

    network: str = "vgg9"
    amounts: tuple[int, ...] = (60, 120, 250, 500, 1000, 2000)
    mixtures: tuple[tuple[int, int], ...] = ((120, 250), (120, 1000), (250, 250), (250, 1000), (500, 1000))
    seeds: tuple[int, ...] = (0, 1, 2)
    recipe: Recipe = field(default_factory=Recipe)
    public_fraction: float = 0.5
    split_seed: int = 0
    held_out: float = 0.3
    max_test: int = 2000
    refits: int = 200
    workers: int = 2


def fit_learning(
    dataset: Dataset,
    pool: Pool,
    out: Path,
    settings: LearningSettings,
    *,
    report: Callable[[MeasureProgress[Point]], None] = lambda _: None,
) -> Fit:
    """Measure, fit, write `out` (learning.json). Points lie in `out`.points.jsonl: the same call goes on from there.

    Raises DataError where there are too few samples, or where the errors make no learning curve.
    """
    started = time.time()
    cut = cut_public_private(
        dataset.y_train,
        public_fraction=settings.public_fraction,
        seed=settings.split_seed,
        groups=dataset.groups_train,
    )
    x, y = dataset.x_train[cut.public], dataset.y_train[cut.public]
    groups = None if dataset.groups_train is None else dataset.groups_train[cut.public]
    inner = cut_public_private(y, public_fraction=settings.held_out, seed=settings.split_seed, groups=groups)
    rng = np.random.default_rng(settings.split_seed)
    part_a = inner.private
    part_b = inner.public[balanced_draw(y[inner.public], settings.max_test, rng)]
    check_amounts(settings, len(part_a), pool, dataset)
    facts = {
        "dataset": dataset.name,
        "public_digest": images_digest(x, y),
        "generator": pool.generator,
        "pool_base_seed": pool.base_seed,
        "pool_black_below": pool.black_below,
        "network": settings.network,
        "recipe": asdict(settings.recipe),
        "public_fraction": settings.public_fraction,
        "split_seed": settings.split_seed,
        "held_out": settings.held_out,
        "test_images": len(part_b),
    }
    network = NetworkSpec(name=settings.network, image_shape=dataset.image_shape, n_classes=dataset.n_classes)
    pool_labels = np.repeat(np.arange(pool.n_classes), pool.counts)
    pool_images = np.concatenate(pool.images)

    def prepare(point: Point) -> Job:
        # The real samples of a seed are nested: more data means the same and others, which steadies the curve.
        real = part_a[balanced_draw(y[part_a], point.real, np.random.default_rng((point.seed, 0)))]
        synthetic = balanced_draw(pool_labels, point.synthetic, np.random.default_rng((point.seed, 1)))
        images = np.concatenate([x[real], pool_images[synthetic]])
        labels = np.concatenate([y[real], pool_labels[synthetic]]).astype(np.int64)
        return Job(point, network, settings.recipe, images, labels, x[part_b], y[part_b])

    points = measure(
        wanted_points(settings),
        prepare,
        run_job,
        out.with_suffix(".points.jsonl"),
        hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        workers=settings.workers,
        report=report,
    )
    fit = fit_all(points, refits=settings.refits)
    provenance = {
        **facts,
        "amounts": settings.amounts,
        "mixtures": settings.mixtures,
        "seeds": settings.seeds,
        "caveat": CAVEAT,
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(time.time() - started, 1),
    }
    write_learning(out, fit, provenance, points)
    return fit


def wanted_points(settings: LearningSettings) -> list[Point]:
    """What is to be measured, its errors unknown; seed by seed, so that an early stop leaves whole curves."""
    cells = [(amount, 0) for amount in settings.amounts] + list(settings.mixtures)
    return [Point(real, synthetic, seed, float("nan")) for seed in settings.seeds for real, synthetic in cells]


def check_amounts(settings: LearningSettings, n_real: int, pool: Pool, dataset: Dataset) -> None:
    """Raises DataError where more samples are asked for than there are."""
    if pool.n_classes != dataset.n_classes or pool.images[0].shape[1:] != dataset.image_shape:
        raise DataError(
            f"the pool has {pool.n_classes} classes of {pool.images[0].shape[1:]} images, "
            f"{dataset.name} {dataset.n_classes} of {dataset.image_shape}"
        )
    if min(settings.amounts) < 1 or min(real for real, _ in settings.mixtures) < 1:
        raise DataError("amounts of real samples start at 1: without any there is no error to compare")
    most = max(*settings.amounts, *(real for real, _ in settings.mixtures))
    if most > n_real:
        raise DataError(f"{most} real samples are asked for, part A of the public part of {dataset.name} has {n_real}")
    synthetic = max(own for _, own in settings.mixtures)
    if synthetic > pool.counts.sum():
        raise DataError(
            f"{synthetic} synthetic samples are asked for, the pool has {pool.counts.sum()}: make more with "
            "fimi-server synth-pool"
        )


def write_learning(out: Path, fit: Fit, provenance: dict[str, object], points: list[Point]) -> None:
    """Write learning.json, whole or not at all."""
    content = {"format": FORMAT, **asdict(fit), "provenance": provenance, "points": [asdict(p) for p in points]}
    write_atomic(out, (json.dumps(content, indent=1) + "\n").encode())
