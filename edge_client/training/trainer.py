"""The seam between the agent and a training runtime. Implementations: one file per runtime beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

REMEDY = "a smaller learning_rate or a clip_norm helps"
"""For a training that diverged."""

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Hyper:
    """Local SGD: `learning_rate`, `momentum`, `weight_decay`, `clip_norm` (global L2 norm of the gradient, or None)."""

    learning_rate: float
    momentum: float
    weight_decay: float
    clip_norm: float | None


class Trainer(Protocol):
    """Trains one network. Images are (N, H, W, C) uint8, labels (N,) int64; weights are named float32 arrays."""

    def load(self, weights: Weights) -> None:
        """Start from these weights with zero momentum; raises TrainingError when names or shapes do not fit."""

    def train_batch(self, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> float:
        """One SGD step on one batch; returns its mean loss."""

    def weights(self) -> Weights:
        """A copy of the current weights."""
