"""Training a network in the server's own process: for measuring, never a part of a federated round."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.errors import DataError

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """One rule for every amount of data: `steps` of SGD with momentum, the rate falling linearly to zero.

    A fixed number of steps gives each amount the same work, so that errors differ by the data alone.
    """

    steps: int = 500
    batch_size: int = 16
    learning_rate: float = 0.04
    momentum: float = 0.9
    clip_norm: float | None = 2.0
    weight_decay: float = 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """For files and digests; without a weight decay of 0, which is none, and as files of before have it."""
        return {name: value for name, value in asdict(self).items() if name != "weight_decay" or value}


def train_network(
    network: NetworkSpec, images: np.ndarray, labels: np.ndarray, recipe: Recipe, *, seed: int
) -> Weights:
    """Images (N, H, W, C) uint8 with labels (N,) int64 -> weights; `seed` gives the first weights and the order.

    Raises DataError where the training diverges.
    """
    shape = network.image_shape
    module = networks.build(network.name, shape, network.n_classes)
    networks.from_arrays(module, networks.initial_weights(network.name, shape, network.n_classes, seed))
    rng = np.random.default_rng((seed, 1))
    optimizer = torch.optim.SGD(
        module.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    order = np.zeros(0, dtype=np.int64)
    for step in range(recipe.steps):
        while len(order) < recipe.batch_size:  # every sample once before any comes again
            order = np.concatenate([order, rng.permutation(len(images))])
        pick, order = order[: recipe.batch_size], order[recipe.batch_size :]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1.0 - step / recipe.steps)
        logits = module(torch.from_numpy(networks.normalise(images[pick])))
        loss = functional.cross_entropy(logits, torch.from_numpy(labels[pick]))
        if not math.isfinite(float(loss.detach())):
            raise DataError(
                f"{network.name} diverged: its loss is {float(loss.detach())} at step {step} of {recipe.steps}; a "
                f"learning rate below {recipe.learning_rate:g}, or clipping, keeps it finite"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.clip_norm)
        optimizer.step()
    return networks.to_arrays(module)


def balanced_draw(labels: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Labels (N,) -> `n_samples` <= N indices without repeats, the classes as even as the labels allow."""
    shuffled = rng.permutation(len(labels))
    own = labels[shuffled]
    rank = np.zeros(len(labels), dtype=np.int64)  # how many of its class come before a sample
    for label in np.unique(own):
        members = own == label
        rank[members] = np.arange(members.sum())
    return shuffled[np.argsort(rank, kind="stable")[:n_samples]]
