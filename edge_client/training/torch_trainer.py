"""The runtime "torch": PyTorch on the CPU, in eager mode. Imported in the worker process only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from edge_client.errors import TrainingError
from edge_client.protocol.messages import NetworkSpec
from edge_client.protocol.weights import Computed
from edge_client.training.trainer import Hyper, Weights, parts
from models.networks import build, from_arrays, normalise, to_array, to_arrays


class TorchTrainer:
    """Local SGD with momentum on a network of `models`. Channels-last: a tenth faster for these networks on CPUs.

    With `bfloat16`, products are in bfloat16 and all that is summed up or kept is in float32 (autocast): faster by half
    and more where the processor multiplies bfloat16 itself, slower where it does not; see `has_bfloat16`.
    """

    at_once: int | None = None

    def __init__(self, network: NetworkSpec, *, bfloat16: bool = False) -> None:
        try:
            module = build(network.name, network.image_shape, network.n_classes)
        except ValueError as error:
            raise TrainingError(str(error)) from error
        self._module = module.train()
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser: torch.optim.SGD | None = None
        self._whole: list[torch.Tensor] = []
        self._bfloat16 = bfloat16
        self._network = network

    def reset(self) -> None:
        self.load(to_arrays(build(self._network.name, self._network.image_shape, self._network.n_classes)))

    def load(self, weights: Weights) -> None:
        try:
            from_arrays(self._module, weights)
        except ValueError as error:
            raise TrainingError(f"the weights do not fit the network: {error}") from error
        self._optimiser = None  # momentum starts at zero
        self._whole = []

    def train_batch(self, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> float:
        if hyper.prox and not self._whole:
            self._whole = [weight.detach().clone() for weight in self._module.parameters()]
        optimiser = self._optimiser or self._new_optimiser(hyper)
        optimiser.zero_grad(set_to_none=True)
        loss = sum(self._backward(images[own], labels[own], len(labels)) for own in parts(len(labels), self.at_once))
        if hyper.prox:
            self._pull(hyper.prox)
        if hyper.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._module.parameters(), hyper.clip_norm)
        optimiser.step()
        return loss

    def rehearse(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._backward(images, labels, len(labels))
        self._module.zero_grad(set_to_none=True)

    def rest(self) -> None:
        self._module.zero_grad(set_to_none=True)

    def logits(self, images: np.ndarray) -> np.ndarray:
        with torch.no_grad(), self._precision():
            found = [self._module(_pixels(images[own])).float() for own in parts(len(images), self.at_once)]
        return torch.cat(found).numpy()

    def weights(self) -> Weights:
        own = dict(self._module.named_parameters())
        return Computed(own, lambda name: to_array(own[name]))

    def _backward(self, images: np.ndarray, labels: np.ndarray, samples: int) -> float:
        """Add the gradient of these images' part in the mean loss of `samples` images; returns that part."""
        with self._precision():
            logits = self._module(_pixels(images))
        loss = F.cross_entropy(logits.float(), torch.from_numpy(labels), reduction="sum") / samples
        loss.backward()
        return float(loss.detach())

    @torch.no_grad()
    def _pull(self, prox: float) -> None:
        for weight, whole in zip(self._module.parameters(), self._whole, strict=True):
            assert weight.grad is not None
            weight.grad.add_(weight - whole, alpha=prox)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            yield

    def _new_optimiser(self, hyper: Hyper) -> torch.optim.SGD:
        self._optimiser = torch.optim.SGD(
            self._module.parameters(),
            lr=hyper.learning_rate,
            momentum=hyper.momentum,
            weight_decay=hyper.weight_decay,
        )
        return self._optimiser


def _pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(normalise(images)).to(memory_format=torch.channels_last)


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512-BF16, AMX, or Armv8.6): elsewhere it is emulated."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    able = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return able is not None and not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(able.group(1).split())
