"""Features that distances are taken in: what the last layer of a network of ours sees, trained on the public part.

The layer is the input of the last linear one (VGG-9: 512 values after the second hidden layer's ReLU). The network is
none of the judges that select samples: those are not to mark their own work. Values are divided by their root mean
square over the reference, so that a distance of 1 is as large as the features themselves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.learning.kept import trained_once
from server.learning.training import Recipe, Weights
from server.synth.assess.copies import views
from server.synth.public import PublicPart

BATCH = 250
SEED = 77


def feature_network(
    path: Path, part: PublicPart, network: str, recipe: Recipe, *, mirror: bool
) -> tuple[NetworkSpec, Weights]:
    """The network at `path`, trained there where it is not yet."""
    spec = NetworkSpec(name=network, image_shape=part.images.shape[1:], n_classes=len(part.class_names))
    facts = {
        "format": "fimi-features-1",
        "public_digest": part.facts["digest"],
        "network": network,
        "recipe": recipe.facts,
        "mirror": mirror,
    }
    images = np.concatenate(list(views(part.images, mirror=mirror, shift=0)))
    labels = np.concatenate([part.labels] * (len(images) // len(part.labels)))
    return spec, trained_once(path, spec, images, labels, recipe, seed=SEED, facts=facts)


@torch.inference_mode()
def features_of(spec: NetworkSpec, weights: Weights, images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) uint8 -> (N, D) float32: what goes into the network's last linear layer."""
    module = networks.build(spec.name, spec.image_shape, spec.n_classes).eval()
    networks.from_arrays(module, weights)
    last = [own for own in module.modules() if isinstance(own, nn.Linear)][-1]
    seen: list[np.ndarray] = []
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0].numpy().copy()))
    for start in range(0, len(images), BATCH):
        module(torch.from_numpy(networks.normalise(images[start : start + BATCH])))
    return np.concatenate(seen)


def stratified(
    rng: np.random.Generator, test_labels: np.ndarray, made_labels: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of two halves of the test part and of as many samples, with equal numbers of each class in all three.

    The classes keep the test part's proportions; where samples of one are short, all are fewer.
    """
    halves = np.bincount(test_labels, minlength=n_classes) // 2
    there = np.bincount(made_labels, minlength=n_classes)
    present = halves > 0
    scale = min(1.0, float((there[present] / halves[present]).min(initial=1.0)))
    first, second, made = [], [], []
    for label, n in enumerate(np.floor(halves * scale + 1e-9).astype(int)):
        own = rng.permutation(np.flatnonzero(test_labels == label))
        first.append(own[:n])
        second.append(own[n : 2 * n])
        made.append(rng.permutation(np.flatnonzero(made_labels == label))[:n])
    return np.concatenate(first), np.concatenate(second), np.concatenate(made)
