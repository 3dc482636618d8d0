"""How like real images samples are, without training on them: distances, recall, near-copies, each with its floor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.data.dataset import Dataset
from server.learning.made import Made
from server.learning.training import Weights
from server.synth.assess.copies import copy_shares, nearness, pixels, planted_copies, views
from server.synth.assess.distances import frechet, kernel_distance
from server.synth.assess.features import features_of, stratified
from server.synth.assess.manifold import manifold
from server.synth.assess.neighbours import Views
from server.synth.public import PublicPart

VERSION = 2
"""Of the measures: results of another one are measured anew."""

PAIRS = 16


@dataclass(frozen=True)
class Likeness:
    """What is written down (`values`, JSON), and what figures need: ratios by kind, and the closest pairs.

    `pairs`: indices of samples and of the public images that they lie nearest to.
    """

    values: dict[str, Any]
    ratios: dict[str, list[float]]
    pairs: list[tuple[int, int]]


@dataclass(frozen=True)
class Reference:
    """What all variants are held against: computed once.

    `public_*`: views of the public images, as rows. What the network sees of a moved image lies near that of the image,
    so that moved views are looked at in pixels alone. `near_test` and `near_planted` are ratios (see `copies`), by
    "pixels" and "features".
    """

    network: tuple[NetworkSpec, Weights]
    public_pixels: Views
    public_features: Views
    test_features: np.ndarray
    near_test: dict[str, np.ndarray]
    near_planted: dict[str, np.ndarray]


def reference(
    part: PublicPart, dataset: Dataset, network: tuple[NetworkSpec, Weights], *, mirror: bool, shift: int
) -> Reference:
    """Of the public part and the whole test part; `mirror` and `shift` as training showed the images."""

    def rows() -> Iterator[np.ndarray]:
        return map(pixels, views(part.images, mirror=mirror, shift=shift))

    features = [features_of(*network, own) for own in views(part.images, mirror=mirror, shift=0)]

    def seen() -> list[np.ndarray]:
        return features

    planted = planted_copies(part.images, mirror=mirror, shift=shift)
    test_seen = features_of(*network, dataset.x_test)
    return Reference(
        network,
        rows,
        seen,
        test_seen,
        {"pixels": nearness(pixels(dataset.x_test), rows).ratio, "features": nearness(test_seen, seen).ratio},
        {
            "pixels": nearness(pixels(planted), rows).ratio,
            "features": nearness(features_of(*network, planted), seen).ratio,
        },
    )


def likeness(made: Made, dataset: Dataset, against: Reference) -> Likeness:
    """Samples against one half of the test part, and the other half against it, too: the floor.

    The public part is the reference for near-copies alone; all three sets have equal numbers of each class.
    """
    first, second, own = stratified(np.random.default_rng(0), dataset.y_test, made.labels, dataset.n_classes)
    raw = features_of(*against.network, made.images[own])
    unit = float(np.sqrt((against.test_features[first].astype(np.float64) ** 2).mean())) or 1.0
    a, b, c = (rows / np.float32(unit) for rows in (against.test_features[first], against.test_features[second], raw))
    kernel, kernel_error = kernel_distance(c, a)
    floor, floor_error = kernel_distance(b, a)
    near = {
        "pixels": nearness(pixels(made.images[own]), against.public_pixels),
        "features": nearness(raw, against.public_features),
    }
    values: dict[str, Any] = {
        "images_a_side": len(first),
        "frechet": frechet(c, a),
        "frechet_floor": frechet(b, a),
        "kernel": kernel,
        "kernel_error": kernel_error,
        "kernel_floor": floor,
        "kernel_floor_error": floor_error,
        "manifold": asdict(manifold(a, c)),
        "manifold_of_real": asdict(manifold(a, b)),
        "copies": {
            kind: [
                asdict(share)
                for share in copy_shares(
                    found.ratio,
                    against.near_test[kind][first],
                    against.near_test[kind][second],
                    against.near_planted[kind],
                )
            ]
            for kind, found in near.items()
        },
    }
    closest = np.argsort(near["pixels"].ratio, kind="stable")[:PAIRS]
    return Likeness(
        values,
        {
            "made": near["pixels"].ratio.round(5).tolist(),
            "second": against.near_test["pixels"][second].round(5).tolist(),
        },
        [(int(own[i]), int(near["pixels"].index[i])) for i in closest],
    )
