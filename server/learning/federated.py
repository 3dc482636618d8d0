"""A federation in the server's own process, for measuring how accuracy grows over rounds with more or less data.

The same algorithm as a real run - local SGD with momentum from the global model, changes averaged by samples - without
devices, clocks and joules: those come from the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.config import TrainingConfig
from server.rounds.aggregate import WeightedMean
from server.rounds.evaluate import evaluate
from server.rounds.tasks import learning_rate

Weights = dict[str, np.ndarray]
Samples = tuple[np.ndarray, np.ndarray]
"""Images (N, H, W, C) uint8 and labels (N,) int64."""


@dataclass(frozen=True)
class Progression:
    """One measured federation: `accuracy` in 0..1 on held-out real samples after each round, () before it has run."""

    fill_factor: float
    seed: int
    accuracy: tuple[float, ...] = ()

    @property
    def cell(self) -> tuple[float, int]:
        """Which federation it is, whatever came of it."""
        return self.fill_factor, self.seed


@dataclass(frozen=True)
class FederationJob:
    """A federation to run: `devices` hold their local and synthetic samples."""

    progression: Progression
    network: NetworkSpec
    training: TrainingConfig
    devices: tuple[Samples, ...]
    test: Samples


def run_federation(job: FederationJob) -> Progression:
    """All rounds of `job`; on one thread, so that jobs side by side do not fight for cores."""
    torch.set_num_threads(1)
    progression, network = job.progression, job.network
    weights = networks.initial_weights(network.name, network.image_shape, network.n_classes, progression.seed)
    module = networks.build(network.name, network.image_shape, network.n_classes)
    accuracy = []
    for round_ in range(1, job.training.rounds + 1):
        mean = WeightedMean(weights)
        for place, samples in enumerate(job.devices):
            networks.from_arrays(module, weights)
            rng = np.random.default_rng((progression.seed, round_, place))
            local_sgd(module, samples, job.training, learning_rate(job.training, round_), rng)
            after = networks.to_arrays(module)
            mean.add({name: after[name] - weights[name] for name in weights}, len(samples[1]))
        weights = mean.moved(weights)
        accuracy.append(evaluate(network, weights, *job.test).accuracy)
    return Progression(progression.fill_factor, progression.seed, tuple(accuracy))


def local_sgd(
    module: torch.nn.Module, samples: Samples, training: TrainingConfig, rate: float, rng: np.random.Generator
) -> None:
    """One device's round: `training.local_epochs` times through its samples, in a fresh order each time."""
    images, labels = samples
    optimizer = torch.optim.SGD(
        module.parameters(), lr=rate, momentum=training.momentum, weight_decay=training.weight_decay
    )
    for _ in range(training.local_epochs):
        order = rng.permutation(len(labels))
        for start in range(0, len(order), training.batch_size):
            pick = order[start : start + training.batch_size]
            logits = module(torch.from_numpy(networks.normalise(images[pick])))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[pick]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if training.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), training.clip_norm)
            optimizer.step()


def filled(own: Sequence[Samples], extra: Sequence[Samples]) -> tuple[Samples, ...]:
    """Each device's own samples and what is added to them."""
    return tuple(
        (np.concatenate([images, more_images]), np.concatenate([labels, more_labels]).astype(np.int64))
        for (images, labels), (more_images, more_labels) in zip(own, extra, strict=True)
    )
