"""Every runtime beside PyTorch in float64: one step, and a local round of twenty, by the weights' change."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from edge_client.protocol.graphs import Bundle, pack, unpack
from edge_client.protocol.messages import NetworkSpec
from edge_client.training.engines import NumpyEngine
from edge_client.training.graph_trainer import GraphTrainer
from edge_client.training.torch_trainer import TorchTrainer
from edge_client.training.trainer import Hyper, Trainer
from models import networks
from server.export.bundle import make_bundle
from server.export.step import Options

BATCH = 8
HYPER = Hyper(0.005, 0.9, 0.001, 1.0)
OPTIONS = Options(clip=True, weight_decay=True)


def graphs(network: NetworkSpec, runtime: str) -> Bundle:
    batch = BATCH if runtime == "tflite" else None
    return unpack(pack(make_bundle(network, runtime, OPTIONS, batch=batch)))  # type: ignore[arg-type]


def by_torch(network: NetworkSpec, at_once: int | None) -> Trainer:
    return TorchTrainer(network)


def by_numpy(network: NetworkSpec, at_once: int | None) -> Trainer:
    bundle = graphs(network, "numpy")
    return GraphTrainer(bundle, network, NumpyEngine(bundle), at_once=at_once)


def by_onnx(network: NetworkSpec, at_once: int | None) -> Trainer:
    from edge_client.training.onnx_engine import OnnxEngine

    bundle = graphs(network, "onnx")
    return GraphTrainer(bundle, network, OnnxEngine(bundle, 1), at_once=at_once)


def by_tflite(network: NetworkSpec, at_once: int | None) -> Trainer:
    from edge_client.training.tflite_engine import TfliteEngine

    bundle = graphs(network, "tflite")
    return GraphTrainer(bundle, network, TfliteEngine(bundle, 1), at_once=at_once)


def lacks(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is None for module in modules)


RUNTIMES = [
    pytest.param(by_torch, id="torch"),
    pytest.param(by_numpy, id="numpy"),
    pytest.param(
        by_onnx, id="onnx", marks=pytest.mark.skipif(lacks("onnxruntime"), reason="onnxruntime is not installed")
    ),
    pytest.param(
        by_tflite,
        id="tflite",
        marks=pytest.mark.skipif(lacks("ai_edge_litert", "tflite_runtime"), reason="no TFLite runtime is installed"),
    ),
]


class Exact:
    """PyTorch in float64, step by step as `Trainer` defines it."""

    def __init__(self, network: NetworkSpec, weights: dict[str, np.ndarray]) -> None:
        self._module = networks.build(network.name, network.image_shape, network.n_classes).double()
        networks.from_arrays(self._module, weights)
        self._weights = dict(self._module.named_parameters())
        self._optimiser = torch.optim.SGD(
            self._weights.values(), lr=HYPER.learning_rate, momentum=HYPER.momentum, weight_decay=HYPER.weight_decay
        )

    def train(self, images: np.ndarray, labels: np.ndarray) -> None:
        logits = self._module(torch.from_numpy(networks.normalise(images)).double())
        self._optimiser.zero_grad()
        functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        torch.nn.utils.clip_grad_norm_(self._weights.values(), HYPER.clip_norm)
        self._optimiser.step()

    def change(self, before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: p.detach().numpy() - before[name].astype(np.float64) for name, p in self._weights.items()}


def distance(found: dict[str, np.ndarray], before: dict[str, np.ndarray], change: dict[str, np.ndarray]) -> float:
    """Relative L2 distance of the change of all weights together."""
    off = sum(float(((found[n].astype(np.float64) - before[n] - own) ** 2).sum()) for n, own in change.items())
    return (off / sum(float((own**2).sum()) for own in change.values())) ** 0.5


@pytest.mark.parametrize("make", RUNTIMES)
@pytest.mark.parametrize(("name", "shape"), [("tiny", (10, 10, 1)), ("small", (12, 12, 3)), ("vgg9", (16, 16, 1))])
@pytest.mark.parametrize("at_once", [None, 3])
def test_a_step_and_a_round_are_pytorchs(
    make: Callable[[NetworkSpec, int | None], Trainer], name: str, shape: tuple[int, int, int], at_once: int | None
) -> None:
    if at_once is not None and make is by_torch:
        pytest.skip("PyTorch's trainer does whole batches")
    network = NetworkSpec(name=name, image_shape=shape, n_classes=5)
    before = networks.initial_weights(name, shape, 5, 3)
    rng = np.random.default_rng(2)
    images, labels = rng.integers(0, 256, (40, *shape), dtype=np.uint8), rng.integers(0, 5, 40)
    trainer, exact = make(network, at_once), Exact(network, before)
    trainer.load(before)
    for step in range(20):
        pick = rng.permutation(40)[: BATCH - (step % 5 == 4)]  # now and then a shorter batch
        loss = trainer.train_batch(images[pick], labels[pick], HYPER)
        exact.train(images[pick], labels[pick])
        assert np.isfinite(loss)
        if step == 0:
            assert distance(trainer.weights(), before, exact.change(before)) <= 1e-4
    assert distance(trainer.weights(), before, exact.change(before)) <= 1e-2
