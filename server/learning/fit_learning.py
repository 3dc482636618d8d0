"""Measuring how the error falls with a device's data, and what a synthetic sample is worth, with an interval.

Networks are trained on amounts of the public part and tested on the data set's test part, which the generator has never
seen. The devices' private images are not touched: the real samples of a mixture are public ones, of which the generator
already knows much, so that private ones would gain at least as much from its samples.
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
from server.data.dataset import Dataset, images_digest
from server.errors import ConfigError, DataError
from server.files import write_atomic
from server.learning.curve import Fit, Point, fit_all, too_few
from server.learning.made import Made, mixture
from server.learning.measure import Job, MeasureProgress, measure, run_job
from server.learning.training import Recipe, balanced_draw
from server.run_dir import versions
from server.synth.public import public_part

FORMAT = "fimi-learning-1"
CAVEAT = (
    "Errors are of the data set's test part, which the generator has never seen. Rounds are evaluated on the same "
    "images; of them the plan takes four numbers, no more."
)


@dataclass(frozen=True)
class LearningSettings:
    """What is measured. `amounts` of real samples, `mixtures` of (real, synthetic) samples, each with each of `seeds`.

    `public_fraction` and `split_seed` must be those of the runs that will use the result; `max_test` bounds how many
    images of the test part are tested on; `refits` make the intervals.
    """

    network: str = "vgg9"
    amounts: tuple[int, ...] = (60, 120, 250, 500, 1000, 2000)
    mixtures: tuple[tuple[int, int], ...] = ((120, 250), (120, 1000), (250, 250), (250, 1000), (500, 1000))
    seeds: tuple[int, ...] = (0, 1, 2)
    recipe: Recipe = field(default_factory=Recipe)
    public_fraction: float = 0.5
    split_seed: int = 0
    max_test: int = 4000
    refits: int = 200
    workers: int = 2


def fit_learning(
    dataset: Dataset,
    made: Made,
    out: Path,
    settings: LearningSettings,
    *,
    report: Callable[[MeasureProgress[Point]], None] = lambda _: None,
) -> Fit:
    """Measure, fit, write `out` (learning.json). Points lie in `out`.points.jsonl: the same call goes on from there.

    Raises DataError where there are too few samples, or where the errors make no learning curve.
    """
    started = time.time()
    part = public_part(dataset, settings.public_fraction, settings.split_seed)
    x, y = part.images, part.labels
    tested = balanced_draw(dataset.y_test, settings.max_test, np.random.default_rng(settings.split_seed))
    test_images, test_labels = dataset.x_test[tested], dataset.y_test[tested]
    check_amounts(settings, len(y), made, dataset)
    facts = {
        "dataset": dataset.name,
        "public_digest": images_digest(x, y),
        **made.facts,
        "samples_digest": made.digest,
        "network": settings.network,
        "recipe": settings.recipe.facts,
        "public_fraction": settings.public_fraction,
        "split_seed": settings.split_seed,
        "tested_on": "test part",
        "test_images": len(tested),
        "test_digest": images_digest(test_images, test_labels),
    }
    network = NetworkSpec(name=settings.network, image_shape=dataset.image_shape, n_classes=dataset.n_classes)

    def prepare(point: Point) -> Job:
        images, labels = mixture(x, y, made, point.real, point.synthetic, seed=point.seed)
        return Job(point, network, settings.recipe, images, labels, test_images, test_labels)

    points = measure(
        wanted_points(settings),
        prepare,
        run_job,
        out.with_suffix(".points.jsonl"),
        hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        workers=settings.workers,
        report=report,
    )
    fit = fit_all(points, refits=settings.refits, test_images=len(tested))
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


def check_amounts(settings: LearningSettings, n_real: int, made: Made, dataset: Dataset) -> None:
    """Raises DataError where more samples are asked for than there are, ConfigError for amounts that make no curve."""
    made.check_fits(dataset)
    if min(settings.amounts) < 1 or min(min(own) for own in settings.mixtures) < 1:
        raise ConfigError("amounts of samples start at 1: without any there is no error to compare")
    if why := too_few(amounts=set(settings.amounts), seeds=set(settings.seeds)):
        raise ConfigError(why)
    most = max(*settings.amounts, *(real for real, _ in settings.mixtures))
    if most > n_real:
        raise DataError(f"{most} real samples are asked for, the public part of {dataset.name} has {n_real}")
    synthetic = max(own for _, own in settings.mixtures)
    if synthetic > len(made.labels):
        raise DataError(
            f"{synthetic} synthetic samples are asked for, there are {len(made.labels)}: make more with "
            "fimi-server synth-pool"
        )


def write_learning(out: Path, fit: Fit, provenance: dict[str, object], points: list[Point]) -> None:
    """Write learning.json, whole or not at all."""
    content = {"format": FORMAT, **asdict(fit), "provenance": provenance, "points": [asdict(p) for p in points]}
    write_atomic(out, (json.dumps(content, indent=1) + "\n").encode())
