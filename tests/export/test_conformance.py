"""Every runtime beside PyTorch in float64: one step, and a local round of twenty, by the weights' change.

Where two pixels of a pool, or a pixel and zero, differ by less than rounding, float32 may choose otherwise than float64
does, and one such choice moves a step of VGG-9 by 1e-3: in batches of eight that is rare, so a step is judged by the
median of several. Twenty steps at a large rate are chaotic: PyTorch in float32 is then a quarter off PyTorch in float64
(VGG-9, learning rate 0.1). The rate of the round is one at which PyTorch itself stays well below the bound.
"""

from __future__ import annotations

import functools
import importlib.util
import statistics
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from edge_client.protocol.graphs import Bundle, Runtime, pack, unpack
from edge_client.protocol.messages import NetworkSpec
from edge_client.training.graph_trainer import GraphTrainer
from edge_client.training.making import make_engine
from edge_client.training.torch_trainer import TorchTrainer
from edge_client.training.trainer import Hyper, Trainer
from models import networks
from server.export.bundle import make_bundle
from server.export.step import Options

BATCH, STEPS, CLASSES = 8, 20, 5
STEP = Hyper(0.1, 0.9, 0.001, 1.0, 0.01)
ROUND = Hyper(0.002, 0.9, 0.001, 1.0, 0.01)
SEEDS = range(3)


def network(name: str, shape: tuple[int, int, int]) -> NetworkSpec:
    return NetworkSpec(name=name, image_shape=shape, n_classes=CLASSES)


NETWORKS = [
    pytest.param(network("tiny", (10, 10, 1)), id="tiny"),
    pytest.param(network("small", (12, 12, 3)), id="small"),
    pytest.param(network("vgg9", (16, 16, 1)), id="vgg9"),
]


def lacks(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is None for module in modules)


RUNTIMES = [
    "torch",
    "numpy",
    pytest.param("onnx", marks=pytest.mark.skipif(lacks("onnxruntime"), reason="onnxruntime is not installed")),
    pytest.param(
        "tflite",
        marks=pytest.mark.skipif(lacks("ai_edge_litert", "tflite_runtime"), reason="no TFLite runtime is installed"),
    ),
]


@functools.cache
def bundle_of(runtime: Runtime, net: NetworkSpec, size: int | None) -> Bundle:
    return unpack(pack(make_bundle(net, runtime, Options(clip=True, weight_decay=True, prox=True), batch=size)))


def trainer_of(runtime: str, net: NetworkSpec, at_once: int | None = None) -> Trainer:
    if runtime == "torch":
        trainer: Trainer = TorchTrainer(net)
        trainer.at_once = at_once
        return trainer
    bundle = bundle_of(runtime, net, None if runtime != "tflite" else at_once or BATCH)  # type: ignore[arg-type]
    graph_trainer = GraphTrainer(bundle, net, make_engine(bundle, 1))
    graph_trainer.at_once = at_once or graph_trainer.at_once
    return graph_trainer


class Exact:
    """PyTorch in float64, step by step as `Trainer` defines it."""

    def __init__(self, net: NetworkSpec, weights: dict[str, np.ndarray], hyper: Hyper) -> None:
        self._module = networks.build(net.name, net.image_shape, net.n_classes).double()
        networks.from_arrays(self._module, weights)
        self._weights = dict(self._module.named_parameters())
        self._before = {name: p.detach().clone() for name, p in self._weights.items()}
        self._hyper = hyper
        self._optimiser = torch.optim.SGD(
            self._weights.values(), lr=hyper.learning_rate, momentum=hyper.momentum, weight_decay=hyper.weight_decay
        )

    def train(self, images: np.ndarray, labels: np.ndarray) -> None:
        logits = self._module(torch.from_numpy(networks.normalise(images)).double())
        self._optimiser.zero_grad()
        functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        for name, p in self._weights.items():
            assert p.grad is not None
            p.grad += self._hyper.prox * (p.detach() - self._before[name])
        assert self._hyper.clip_norm is not None
        torch.nn.utils.clip_grad_norm_(self._weights.values(), self._hyper.clip_norm)
        self._optimiser.step()

    def distance(self, found: dict[str, np.ndarray]) -> float:
        """Of another's change of all weights together from this one's, relative, L2."""
        changes = {name: (p.detach() - self._before[name]).numpy() for name, p in self._weights.items()}
        off = sum(float(((found[name] - self._before[name].numpy() - own) ** 2).sum()) for name, own in changes.items())
        return (off / sum(float((own**2).sum()) for own in changes.values())) ** 0.5


def batches(net: NetworkSpec, seed: int, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Noise: of images with even areas many pixels of a pool are equal, and any choice between them is right."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        size = BATCH - (number % 5 == 4)  # now and then a shorter batch
        yield rng.integers(0, 256, (size, *net.image_shape), dtype=np.uint8), rng.integers(0, CLASSES, size)


def off_after(runtime: str, net: NetworkSpec, hyper: Hyper, steps: int, seed: int, at_once: int | None = None) -> float:
    before = networks.initial_weights(net.name, net.image_shape, CLASSES, seed)
    trainer, exact = trainer_of(runtime, net, at_once), Exact(net, before, hyper)
    trainer.load(before)
    for images, labels in batches(net, seed, steps):
        assert np.isfinite(trainer.train_batch(images, labels, hyper))
        exact.train(images, labels)
    return exact.distance(dict(trainer.weights()))


@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_step_is_pytorchs(runtime: str, net: NetworkSpec) -> None:
    assert statistics.median(off_after(runtime, net, STEP, 1, seed) for seed in SEEDS) <= 1e-4


@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_round_of_twenty_steps_is_pytorchs(runtime: str, net: NetworkSpec) -> None:
    assert off_after(runtime, net, ROUND, STEPS, seed=3) <= 1e-2


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_batch_in_parts_is_the_same_step(runtime: str) -> None:
    net = network("small", (12, 12, 3))
    assert statistics.median(off_after(runtime, net, STEP, 1, seed, at_once=3) for seed in SEEDS) <= 1e-4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_batch_of_one_trains_and_one_of_none_does_not(runtime: str) -> None:
    net = network("tiny", (10, 10, 1))
    before = networks.initial_weights("tiny", net.image_shape, CLASSES, 0)
    trainer, exact = trainer_of(runtime, net), Exact(net, before, STEP)
    trainer.load(before)
    images, labels = next(batches(net, 0, 1))
    trainer.train_batch(images[:1], labels[:1], STEP)
    exact.train(images[:1], labels[:1])
    assert exact.distance(dict(trainer.weights())) <= 1e-4
    with pytest.raises(Exception, match="a batch without an image"):
        trainer.train_batch(images[:0], labels[:0], STEP)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_logits_are_pytorchs(runtime: str) -> None:
    net = network("small", (12, 12, 3))
    weights = networks.initial_weights("small", net.image_shape, CLASSES, 1)
    trainer, module = trainer_of(runtime, net), networks.build("small", net.image_shape, CLASSES).double()
    trainer.load(weights)
    networks.from_arrays(module, weights)
    images = np.random.default_rng(1).integers(0, 256, (BATCH + 3, 12, 12, 3), dtype=np.uint8)
    wanted = module(torch.from_numpy(networks.normalise(images)).double()).detach().numpy()
    np.testing.assert_allclose(trainer.logits(images), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_rehearsal_leaves_no_trace(runtime: str) -> None:
    net = network("tiny", (10, 10, 1))
    weights = networks.initial_weights("tiny", net.image_shape, CLASSES, 1)
    one, other = trainer_of(runtime, net), trainer_of(runtime, net)
    (images, labels), second = batches(net, 4, 2)
    for trainer in (one, other):
        trainer.load(weights)
        trainer.train_batch(images, labels, STEP)
        if trainer is one:
            trainer.rehearse(images[:3], labels[:3])
        trainer.train_batch(*second, STEP)
    for name, array in one.weights().items():
        np.testing.assert_array_equal(array, other.weights()[name])


@pytest.mark.skipif(lacks("onnxruntime"), reason="onnxruntime is not installed")
def test_without_a_bound_on_the_gradient_onnx_keeps_two_sets_of_weights() -> None:
    """Nothing then says that a layer's weights are read before they are written."""
    net = network("small", (12, 12, 3))
    hyper = Hyper(0.1, 0.9, 0.0, None)
    bundle = make_bundle(net, "onnx", Options(clip=False))
    trainer, other = GraphTrainer(bundle, net, make_engine(bundle, 1)), TorchTrainer(net)
    before = networks.initial_weights("small", net.image_shape, CLASSES, 0)
    for one in (trainer, other):
        one.load(before)
        for images, labels in batches(net, 0, 3):
            one.train_batch(images, labels, hyper)
    for name, array in other.weights().items():
        np.testing.assert_allclose(trainer.weights()[name], array, atol=2e-5)


def test_bfloat16_is_near() -> None:
    """Products to three digits: a step that a round of other batches would drown."""
    net = network("small", (12, 12, 3))
    before = networks.initial_weights("small", net.image_shape, CLASSES, 0)
    trainer, exact = TorchTrainer(net, bfloat16=True), Exact(net, before, STEP)
    trainer.load(before)
    images, labels = next(batches(net, 0, 1))
    trainer.train_batch(images, labels, STEP)
    exact.train(images, labels)
    assert 1e-4 < exact.distance(dict(trainer.weights())) < 0.1
