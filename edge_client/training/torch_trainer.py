"""The default runtime: PyTorch on the CPU, in eager mode. Imported in the worker process only."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from edge_client.errors import TrainingError
from edge_client.protocol.messages import NetworkSpec
from edge_client.training.trainer import Hyper, Weights
from models.networks import build, from_arrays, normalise, to_arrays


class TorchTrainer:
    """Local SGD with momentum on a network of `models`. Channels-last: a tenth faster for these networks on CPUs."""

    def __init__(self, network: NetworkSpec) -> None:
        try:
            module = build(network.name, network.image_shape, network.n_classes)
        except ValueError as error:
            raise TrainingError(str(error)) from error
        self._module = module.train()
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser: torch.optim.SGD | None = None

    def load(self, weights: Weights) -> None:
        try:
            from_arrays(self._module, weights)
        except ValueError as error:
            raise TrainingError(f"the weights do not fit the network: {error}") from error
        self._optimiser = None  # momentum starts at zero

    def train_batch(self, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> float:
        optimiser = self._optimiser or self._new_optimiser(hyper)
        x = torch.from_numpy(normalise(images)).to(memory_format=torch.channels_last)
        loss = F.cross_entropy(self._module(x), torch.from_numpy(labels))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if hyper.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._module.parameters(), hyper.clip_norm)
        optimiser.step()
        return float(loss.detach())

    def weights(self) -> Weights:
        return to_arrays(self._module)

    def _new_optimiser(self, hyper: Hyper) -> torch.optim.SGD:
        self._optimiser = torch.optim.SGD(
            self._module.parameters(),
            lr=hyper.learning_rate,
            momentum=hyper.momentum,
            weight_decay=hyper.weight_decay,
        )
        return self._optimiser
