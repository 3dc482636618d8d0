"""How good weights are on samples, by whatever trainer holds them: no second copy of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_client.training.trainer import Trainer, parts

AT_ONCE = 32
"""Images, unless the trainer has a size of its own."""


@dataclass(frozen=True)
class Seen:
    """Share of the samples that were told right, and the mean cross-entropy."""

    samples: int
    accuracy: float
    loss: float


def evaluate(trainer: Trainer, images: np.ndarray, labels: np.ndarray) -> Seen:
    """Images (N, H, W, C) uint8, labels (N,); raises TrainingError where there is none."""
    right, loss = 0, 0.0
    for part in parts(len(labels), trainer.at_once or AT_ONCE):
        logits = trainer.logits(images[part]).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        own = labels[part]
        right += int((logits.argmax(axis=1) == own).sum())
        loss += float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(own)), own]).sum())
    return Seen(samples=len(labels), accuracy=right / len(labels), loss=loss / len(labels))
