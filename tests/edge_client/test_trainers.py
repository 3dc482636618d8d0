"""The runtimes: softmax regression by hand, and PyTorch against its own tools."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.errors import TrainingError
from edge_client.protocol.messages import NetworkSpec
from edge_client.training.numpy_trainer import NumpyTrainer
from edge_client.training.trainer import Hyper
from tests.edge_client.samples import SOFTMAX

# ---- softmax regression ------------------------------------------------------------------------------------------


def test_one_step_by_hand() -> None:
    # x = (-1, 1), label 0, w = 0: p = (1/2, 1/2), loss = ln 2, gradient of b = (-1/2, 1/2), of w = x outer that
    trainer = NumpyTrainer(SOFTMAX)
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    hyper = Hyper(learning_rate=0.5, momentum=0.5, weight_decay=0.0, clip_norm=None)
    assert trainer.train_batch(images, np.array([0]), hyper) == pytest.approx(np.log(2))
    got = trainer.weights()
    np.testing.assert_allclose(got["b"], [0.25, -0.25])
    np.testing.assert_allclose(got["w"], [[-0.25, 0.25], [0.25, -0.25]])
    got["b"][:] = 99  # a copy
    trainer.train_batch(images, np.array([0]), Hyper(1e-9, 1.0, 0.0, None))
    np.testing.assert_allclose(trainer.weights()["b"], [0.25, -0.25], atol=1e-6)


def test_clipping_and_decay_by_hand() -> None:
    # gradient norm: b (-1/2, 1/2), w four entries of 1/2: sqrt(6/4) = 1.2247; clipped to 0.12247: a tenth of it
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    trainer = NumpyTrainer(SOFTMAX)
    trainer.train_batch(images, np.array([0]), Hyper(1.0, 0.0, 0.0, np.sqrt(6) / 20))
    np.testing.assert_allclose(trainer.weights()["b"], [0.05, -0.05], rtol=1e-5)
    ones = {"w": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)}
    trainer.load(ones)
    trainer.train_batch(images, np.array([0]), Hyper(1.0, 0.0, 0.1, None))
    np.testing.assert_allclose(trainer.weights()["b"], [1 - 0.1 + 0.5, 1 - 0.1 - 0.5], rtol=1e-5)
    with pytest.raises(TrainingError, match="do not fit"):
        trainer.load({"w": ones["w"]})
    with pytest.raises(TrainingError, match="knows no network 'vgg9'"):
        NumpyTrainer(NetworkSpec(name="vgg9", image_shape=(8, 8, 1), n_classes=2))


def test_loading_starts_with_zero_momentum() -> None:
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    hyper = Hyper(0.1, 0.9, 0.0, None)
    trainer = NumpyTrainer(SOFTMAX)
    first = dict(trainer.weights())
    trainer.train_batch(images, np.array([0]), hyper)
    once = dict(trainer.weights())
    trainer.train_batch(images, np.array([0]), hyper)
    trainer.load(first)
    trainer.train_batch(images, np.array([0]), hyper)
    np.testing.assert_array_equal(trainer.weights()["w"], once["w"])


# ---- torch -------------------------------------------------------------------------------------------------------


def test_torch_agrees_with_a_step_done_with_its_own_tools() -> None:
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    from edge_client.training.torch_trainer import TorchTrainer
    from models.networks import build, from_arrays, initial_weights, normalise

    spec = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
    start = initial_weights("tiny", (8, 8, 1), 3, seed=1)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8), np.array([0, 1, 2, 0])
    trainer = TorchTrainer(spec)
    trainer.load(start)
    losses = [trainer.train_batch(images, labels, Hyper(0.05, 0.9, 0.01, None)) for _ in range(2)]

    module = build("tiny", (8, 8, 1), 3)
    from_arrays(module, start)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    for loss in losses:
        optimiser.zero_grad()
        expected = torch.nn.functional.cross_entropy(module(torch.from_numpy(normalise(images))), torch.tensor(labels))
        expected.backward()
        optimiser.step()
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(trainer.weights()[name], parameter.detach().numpy(), rtol=1e-4, atol=1e-6)

    trainer.load(start)
    trainer.train_batch(images, labels, Hyper(1.0, 0.0, 0.0, 1e-3))
    moved = sum(float(((trainer.weights()[name] - start[name]) ** 2).sum()) for name in start)
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(TrainingError, match="do not fit the network"):
        trainer.load({"w": start["fc.bias"]})
    with pytest.raises(TrainingError, match="no network 'x'"):
        TorchTrainer(NetworkSpec(name="x", image_shape=(8, 8, 1), n_classes=3))
