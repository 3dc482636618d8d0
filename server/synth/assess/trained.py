"""Networks trained on real samples, on synthetic ones and on mixtures: what class-accuracy score and eta are read from.

Class-accuracy score: Ravuri and Vinyals, arXiv 1905.10887.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from edge_client.protocol.messages import NetworkSpec
from models.learning_curve import samples_for_error
from server.errors import DataError
from server.learning.curve import Fit, Point, fit_all
from server.learning.training import Recipe, train_network
from server.rounds.evaluate import evaluate


@dataclass(frozen=True)
class Trained:
    """One training on `real` and `synthetic` samples (of the set whose digest is `source`, "" for none) and its test.

    `error` in 0..1; `recall` of each class in 0..1, None where the test part has no image of it.
    """

    source: str
    real: int
    synthetic: int
    seed: int
    error: float = math.nan
    recall: tuple[float | None, ...] = ()

    @property
    def cell(self) -> tuple[str, int, int, int]:
        """Which training it is, whatever came of it."""
        return self.source, self.real, self.synthetic, self.seed

    @property
    def point(self) -> Point:
        return Point(self.real, self.synthetic, self.seed, self.error)


@dataclass(frozen=True)
class TrainJob:
    """A training to run, its samples drawn already."""

    trained: Trained
    network: NetworkSpec
    recipe: Recipe
    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def run_trained(job: TrainJob) -> Trained:
    """Train and test; on one thread, so that jobs side by side do not fight for cores."""
    torch.set_num_threads(1)
    weights = train_network(job.network, job.images, job.labels, job.recipe, seed=job.trained.seed)
    seen = evaluate(job.network, weights, job.test_images, job.test_labels)
    return replace(job.trained, error=1.0 - seen.accuracy, recall=seen.class_accuracy)


@dataclass(frozen=True)
class Amounts:
    """How many samples are trained on, each time with each of `seeds`.

    `real` draws the learning curve; `alone` synthetic ones are trained on alone; each of `bases` real ones is mixed
    with each of `times` as many synthetic ones. `alone` and `bases` are measured with real samples alone, too.
    """

    real: tuple[int, ...]
    alone: tuple[int, ...]
    bases: tuple[int, ...]
    times: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def all_real(self) -> tuple[int, ...]:
        return tuple(sorted({*self.real, *self.alone, *self.bases}))

    @property
    def mixtures(self) -> tuple[tuple[int, int], ...]:
        return tuple((base, round(base * times)) for base in self.bases for times in self.times)

    @property
    def most_synthetic(self) -> int:
        return max([*self.alone, *(synthetic for _, synthetic in self.mixtures)])

    def check(self, n_real: int, n_synthetic: int) -> None:
        """Raise DataError where more is asked for than there is."""
        least = min([*self.all_real, *self.alone, *(synthetic for _, synthetic in self.mixtures)], default=0)
        if least < 1 or not self.alone or not self.mixtures:
            raise DataError("amounts of samples start at 1, and each list needs one: without any there is no error")
        if (most := self.all_real[-1]) > n_real:
            raise DataError(f"{most} real samples are asked for, the public part has {n_real}")
        if (most := self.most_synthetic) > n_synthetic:
            raise DataError(
                f"{most} synthetic samples are asked for, each variant has {n_synthetic}: raise --per-class, or ask "
                "for fewer"
            )

    def of_real(self) -> list[Trained]:
        return [Trained("", amount, 0, seed) for seed in self.seeds for amount in self.all_real]

    def of_made(self, source: str) -> list[Trained]:
        cells = [(0, amount) for amount in self.alone] + list(self.mixtures)
        return [Trained(source, real, synthetic, seed) for seed in self.seeds for real, synthetic in cells]


def spread(values: Iterable[float]) -> dict[str, float]:
    """Mean, lowest and highest over the seeds."""
    own = list(values)
    return {"mean": float(np.mean(own)), "low": min(own), "high": max(own)}


def scores(trained: Sequence[Trained], amounts: Amounts) -> list[dict[str, Any]]:
    """The class-accuracy score for each amount, beside real images; `gap` in 0..1 is how much less it is."""
    rows = []
    for amount in amounts.alone:
        made, real = (
            spread(1.0 - t.error for t in trained if (t.real, t.synthetic) == cell)
            for cell in ((0, amount), (amount, 0))
        )
        rows.append({"samples": amount, "made": made, "real": real, "gap": real["mean"] - made["mean"]})
    return rows


def recalls(trained: Sequence[Trained], amount: int) -> dict[str, list[float | None]]:
    """Recall of each class, the mean over seeds, after training on `amount` samples of either kind."""

    def of(cell: tuple[int, int]) -> list[float | None]:
        rows = zip(*(t.recall for t in trained if (t.real, t.synthetic) == cell), strict=True)
        return [None if None in row else float(np.mean([v for v in row if v is not None])) for row in rows]

    return {"made": of((0, amount)), "real": of((amount, 0))}


def worth(trained: Sequence[Trained], amounts: Amounts, *, refits: int, test_images: int) -> Fit | str:
    """Curve and eta from the runs on real samples and on mixtures, or the sentence that says why there are none."""
    cells = {(amount, 0) for amount in amounts.all_real} | set(amounts.mixtures)
    points = [t.point for t in trained if (t.real, t.synthetic) in cells]
    try:
        return fit_all(points, refits=refits, test_images=test_images)
    except DataError as error:
        return str(error)


def paired(trained: Sequence[Trained], first: Sequence[Trained], amounts: Amounts) -> dict[str, float | None]:
    """How much larger the error with mixtures is than the first variant's: mean over pairs, and its standard error.

    A pair is one mixture and seed: the same real samples, first weights and order, the same noise behind the samples.
    What is chance to both falls out, so that this tells two variants apart sooner than their etas' intervals do.
    """
    errors, others = (
        {(t.real, t.synthetic, t.seed): t.error for t in runs if t.synthetic} for runs in (trained, first)
    )
    cells = [(real, synthetic, seed) for real, synthetic in amounts.mixtures for seed in amounts.seeds]
    more = np.array([errors[cell] - others[cell] for cell in cells])
    return {
        "mean": float(more.mean()),
        "standard_error": float(more.std(ddof=1) / np.sqrt(len(more))) if len(more) > 1 else None,
    }


def augmentation(trained: Sequence[Trained], amounts: Amounts, fit: Fit | str) -> list[dict[str, Any]]:
    """Errors with N real and k N synthetic samples; `worth` of one by the curve, None where that says nothing."""
    rows = []
    for base in amounts.bases:
        for times in (0.0, *amounts.times):
            synthetic = round(base * times)
            error = spread(t.error for t in trained if (t.real, t.synthetic) == (base, synthetic))
            own = None
            if synthetic and isinstance(fit, Fit):
                equal = samples_for_error(error["mean"], fit.alpha, fit.beta, fit.gamma)
                own = (equal - base) / synthetic if math.isfinite(equal) else None
            rows.append({"real": base, "synthetic": synthetic, "times": times, "error": error, "worth": own})
    return rows
