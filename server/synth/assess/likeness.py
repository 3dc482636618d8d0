"""How like real images samples are, without training on them: distances, recall, near-copies, each with its floor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_client.protocol.messages import NetworkSpec
from server.data.dataset import Dataset
from server.learning.made import Made
from server.learning.training import Weights
from server.synth.assess.copies import copy_shares, nearness, pixels, planted_copies, with_mirrored
from server.synth.assess.distances import frechet, kernel_distance
from server.synth.assess.features import features_of, stratified
from server.synth.assess.manifold import manifold
from server.synth.public import PublicPart

VERSION = 1
"""Of the measures: results of another one are measured anew."""

PAIRS = 16


@dataclass(frozen=True)
class Likeness:
    """What is written down (`values`, JSON), and what figures need: ratios by kind, and the closest pairs.

    `pairs`: indices of samples and of what they lie nearest to, public images, mirrored ones after all others.
    """

    values: dict[str, Any]
    ratios: dict[str, list[float]]
    pairs: list[tuple[int, int]]


def likeness(
    made: Made, part: PublicPart, dataset: Dataset, network: tuple[NetworkSpec, Weights], *, mirror: bool
) -> Likeness:
    """Samples against one half of the test part, and the other half against it, too: the floor.

    The public part is the reference for near-copies alone; all three sets have equal numbers of each class.
    """
    rng = np.random.default_rng(0)
    first, second, own = stratified(rng, dataset.y_test, made.labels, dataset.n_classes)
    sets = {"made": made.images[own], "first": dataset.x_test[first], "second": dataset.x_test[second]}
    raw = {name: features_of(*network, images) for name, images in sets.items()}
    unit = float(np.sqrt((raw["first"].astype(np.float64) ** 2).mean())) or 1.0
    seen = {name: (rows / unit).astype(np.float32) for name, rows in raw.items()}
    kernel, kernel_error = kernel_distance(seen["made"], seen["first"])
    floor, floor_error = kernel_distance(seen["second"], seen["first"])
    values: dict[str, Any] = {
        "images_a_side": len(first),
        "frechet": frechet(seen["made"], seen["first"]),
        "frechet_floor": frechet(seen["second"], seen["first"]),
        "kernel": kernel,
        "kernel_error": kernel_error,
        "kernel_floor": floor,
        "kernel_floor_error": floor_error,
        "manifold": asdict(manifold(seen["first"], seen["made"])),
        "manifold_of_real": asdict(manifold(seen["first"], seen["second"])),
    }
    public = with_mirrored(part.images, mirror=mirror)
    sets["planted"] = planted_copies(part.images)
    near = {name: nearness(pixels(images), pixels(public)) for name, images in sets.items()}
    public_seen = (features_of(*network, public) / unit).astype(np.float32)
    seen["planted"] = (features_of(*network, sets["planted"]) / unit).astype(np.float32)
    near_seen = {name: nearness(rows, public_seen) for name, rows in seen.items()}
    values["copies"] = {
        kind: [
            asdict(share) for share in copy_shares(*(n[name].ratio for name in ("made", "first", "second", "planted")))
        ]
        for kind, n in (("pixels", near), ("features", near_seen))
    }
    closest = np.argsort(near["made"].ratio, kind="stable")[:PAIRS]
    return Likeness(
        values,
        {name: near[name].ratio.round(5).tolist() for name in ("made", "second")},
        [(int(own[i]), int(near["made"].index[i])) for i in closest],
    )
