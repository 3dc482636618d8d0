"""How good synthetic samples are: what a network learns from them alone, tested on real images it has never seen.

The class-accuracy score of Ravuri and Vinyals (arXiv 1905.10887): it falls when classes are mixed up, when images look
wrong and when they are all alike. The same network trained on as many real images says what could be reached.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.data.dataset import Dataset
from server.data.tiles import tile
from server.errors import DataError
from server.learning.training import Recipe, balanced_draw, train_network
from server.rounds.evaluate import evaluate
from server.synth.pool import Pool


@dataclass(frozen=True)
class Quality:
    """Accuracies in 0..1 on the same `test_images` real images, after the same number of steps on `samples` images."""

    network: str
    samples: int
    steps: int
    seed: int
    test_images: int
    accuracy: float
    accuracy_by_class: tuple[float | None, ...]
    accuracy_of_real: float


def class_accuracy(
    pool: Pool,
    dataset: Dataset,
    public: np.ndarray,
    recipe: Recipe,
    *,
    network: str = "vgg9",
    samples: int = 4000,
    seed: int = 0,
) -> Quality:
    """Train on `samples` (or as many as there are) of the pool, then of the real images at indices `public`.

    Tests on the data set's test part. Raises DataError for an empty pool.
    """
    spec = NetworkSpec(name=network, image_shape=dataset.image_shape, n_classes=dataset.n_classes)
    labels = np.repeat(np.arange(pool.n_classes), pool.counts).astype(np.int64)
    samples = min(samples, len(labels), len(public))
    if samples == 0:
        raise DataError("the pool is empty: there is nothing to score")
    images = np.concatenate(pool.images)
    made = balanced_draw(labels, samples, np.random.default_rng(seed))
    real = public[balanced_draw(dataset.y_train[public], samples, np.random.default_rng(seed))]
    from_made = train_network(spec, images[made], labels[made], recipe, seed=seed)
    from_real = train_network(spec, dataset.x_train[real], dataset.y_train[real], recipe, seed=seed)
    score, reference = (evaluate(spec, w, dataset.x_test, dataset.y_test) for w in (from_made, from_real))
    return Quality(
        network=network,
        samples=samples,
        steps=recipe.steps,
        seed=seed,
        test_images=score.samples,
        accuracy=score.accuracy,
        accuracy_by_class=score.class_accuracy,
        accuracy_of_real=reference.accuracy,
    )


def sample_grid(pool: Pool, dataset: Dataset, indices: np.ndarray, *, columns: int = 10) -> np.ndarray:
    """One row per class, `columns` real images on the left, as many synthetic on the right: (H, W, C) uint8.

    Real images are the first of each class among `indices` of the training set; nobody picks the good ones. Without any
    indices there is no left side.
    """
    blank = np.zeros((1, *dataset.image_shape), np.uint8)
    rows = []
    for label in range(dataset.n_classes):
        real = dataset.x_train[indices[dataset.y_train[indices] == label][:columns]]
        made = pool.images[label][:columns]
        halves = (real, made) if len(indices) else (made,)
        rows += [own for half in halves for own in (half, *[blank] * (columns - len(half)))]
    return tile(np.concatenate(rows), 2 * columns if len(indices) else columns)
