"""The seam between the agent and a training runtime. Implementations: one file per runtime beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_client.errors import TrainingError

REMEDY = "a smaller learning_rate or a clip_norm helps"
"""For a training that diverged."""

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Hyper:
    """Local SGD: `learning_rate`, `momentum`, `weight_decay`, `clip_norm` (global L2 norm of the gradient, or None).

    `prox` is FedProx's pull towards the weights that were loaded (Li et al., arXiv 1812.06127): its term in the
    gradient is prox * (weights - loaded), and counts in the norm.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    clip_norm: float | None
    prox: float = 0.0


def parts(n: int, at_once: int | None) -> list[slice]:
    """n images cut into parts of at most `at_once`. Raises TrainingError where there is none."""
    if n < 1:
        raise TrainingError("a batch without an image")
    most = at_once or n
    return [slice(start, min(start + most, n)) for start in range(0, n, most)]


class Trainer(Protocol):
    """Trains one network. Images are (N, H, W, C) uint8, labels (N,) int64; weights are named float32 arrays.

    `at_once` is the most images that are done together; a larger batch is done in parts, with the same step but for
    rounding. None: whole batches, of any size.
    """

    at_once: int | None

    def load(self, weights: Weights) -> None:
        """Start from these weights with zero momentum; raises TrainingError when names or shapes do not fit."""

    def reset(self) -> None:
        """Start from the network's own first weights with zero momentum."""

    def train_batch(self, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> float:
        """One SGD step on one batch; returns its mean loss. Raises TrainingError for a batch without an image."""

    def rehearse(self, images: np.ndarray, labels: np.ndarray) -> None:
        """The work of a part of a batch, all images together, and forget what came of it: to see what it takes."""

    def rest(self) -> None:
        """Training is over for now: let go of memory that only a next batch would want."""

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(N, classes) float32 with the current weights."""

    def weights(self) -> Weights:
        """The current weights, each copied when it is asked for."""
