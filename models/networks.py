"""The networks by name, their first weights, and the one way pixels become numbers - for server and clients alike.

Weights travel as plain dictionaries of float32 arrays; only this file knows that a torch module is behind them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from models.small import Small
from models.tiny import Tiny
from models.vgg9 import Vgg9

NAMES = ("vgg9", "tiny", "small")


def build(name: str, image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """The network `name` for images (H, W, C); its weights are torch's default ones, to be replaced.

    Raises ValueError for an unknown name or an image too small.
    """
    if name == "vgg9":
        return Vgg9(image_shape, n_classes)
    if name == "tiny":
        return Tiny(image_shape, n_classes)
    if name == "small":
        return Small(image_shape, n_classes)
    raise ValueError(f"no network {name!r}; known: {', '.join(NAMES)}")


def normalise(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 in 0..255 -> (N, C, H, W) float32 in -1..1, contiguous; `torch.from_numpy` takes it as it is.

    The same fixed law for every data set: statistics of the devices' private images must not be needed.
    """
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray(pixels) / np.float32(127.5) - np.float32(1.0)


def to_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """A copy of a module's weights: names to float32 arrays."""
    return {name: to_array(p) for name, p in module.named_parameters()}


def to_array(parameter: Tensor) -> np.ndarray:
    """A copy of one weight, float32."""
    return parameter.detach().float().numpy().copy()


def from_arrays(module: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copy `weights` into the module; raises ValueError where names or shapes do not fit."""
    own = dict(module.named_parameters())
    if own.keys() != weights.keys():
        raise ValueError(f"weights are named {sorted(weights)}, the network has {sorted(own)}")
    for name, parameter in own.items():
        if tuple(parameter.shape) != weights[name].shape:
            raise ValueError(f"{name} has shape {weights[name].shape}, the network needs {tuple(parameter.shape)}")
    with torch.no_grad():
        for name, parameter in own.items():
            # A copy: arrays from a file or the wire may be read-only.
            parameter.copy_(torch.from_numpy(np.array(weights[name], dtype=np.float32)))


def initial_weights(name: str, image_shape: tuple[int, int, int], n_classes: int, seed: int) -> dict[str, np.ndarray]:
    """First weights: normal with variance 2 / fan_in before a ReLU (He et al., arXiv 1502.01852), biases zero.

    The last layer starts a tenth as large as 1 / fan_in would have it. Otherwise VGG-9's first logits are so large
    (a loss of 3.0 to 3.6 where ln 10 is 2.3) that the first rounds on few classes a device go into undoing them.
    Drawn by numpy, so that a seed means the same weights with any torch.
    """
    own = shapes(name, image_shape, n_classes)
    rng = np.random.default_rng(seed)
    last = [key for key, shape in own.items() if len(shape) > 1][-1]
    weights = {}
    for key, shape in own.items():
        if len(shape) == 1:
            weights[key] = np.zeros(shape, np.float32)
            continue
        gain = 0.01 if key == last else 2.0
        std = math.sqrt(gain / math.prod(shape[1:]))
        weights[key] = rng.normal(0.0, std, shape).astype(np.float32)
    return weights


def n_weights(name: str, image_shape: tuple[int, int, int], n_classes: int) -> int:
    """How many weights the network has."""
    return sum(math.prod(shape) for shape in shapes(name, image_shape, n_classes).values())


def shapes(name: str, image_shape: tuple[int, int, int], n_classes: int) -> dict[str, tuple[int, ...]]:
    """Of its weights, by name."""
    with torch.device("meta"):  # shapes alone: no memory, no random draw
        module = build(name, image_shape, n_classes)
    return {key: tuple(parameter.shape) for key, parameter in module.named_parameters()}
