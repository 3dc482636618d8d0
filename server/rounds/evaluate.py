"""How good the global model is: accuracy and mean loss on test images, in this process, between training windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from edge_client.protocol.messages import NetworkSpec
from edge_client.protocol.weights import Weights
from models.networks import build, from_arrays, normalise

BATCH = 500


@dataclass(frozen=True)
class Evaluation:
    """`accuracy` in 0..1, `loss` in nats; `class_accuracy` has None for a class without a test image."""

    accuracy: float
    loss: float
    samples: int
    class_accuracy: tuple[float | None, ...]


@torch.inference_mode()
def evaluate(network: NetworkSpec, weights: Weights, images: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Images (N, H, W, C) uint8 with labels (N,) int64, N >= 1."""
    module = build(network.name, network.image_shape, network.n_classes).eval()
    from_arrays(module, weights)
    loss_sum = 0.0
    correct = np.zeros(len(labels), bool)
    for start in range(0, len(labels), BATCH):
        part = slice(start, start + BATCH)
        logits = module(torch.from_numpy(normalise(images[part])))
        target = torch.from_numpy(labels[part].astype(np.int64))
        loss_sum += float(cross_entropy(logits, target, reduction="sum"))
        correct[part] = (logits.argmax(1) == target).numpy()
    by_class = [correct[labels == c] for c in range(network.n_classes)]
    return Evaluation(
        accuracy=float(correct.mean()),
        loss=loss_sum / len(labels),
        samples=len(labels),
        class_accuracy=tuple(float(hits.mean()) if len(hits) else None for hits in by_class),
    )


def fixed_subset(n_images: int, wanted: int, seed: int) -> np.ndarray:
    """Sorted indices of at most `wanted` test images, the same for every round and strategy of a seed."""
    if wanted >= n_images:
        return np.arange(n_images)
    return np.sort(np.random.default_rng(seed).permutation(n_images)[:wanted])
