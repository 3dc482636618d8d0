"""Softmax regression in plain numpy: a runtime without torch, for trying the wire out and for tests.

Network "softmax": weights w (H*W*C, n_classes) and b (n_classes,), loss = mean cross-entropy of x @ w + b.
"""

from __future__ import annotations

import numpy as np

from edge_client.errors import TrainingError
from edge_client.protocol.messages import NetworkSpec
from edge_client.training.trainer import Hyper, Weights

NETWORKS = ("softmax",)


class NumpyTrainer:
    """SGD with momentum as torch defines it: v = mu * v + g + wd * w; w = w - lr * v.

    A batch is done whole, for it takes no more than the images themselves.
    """

    at_once: int | None = None

    def __init__(self, network: NetworkSpec) -> None:
        if network.name not in NETWORKS:
            raise TrainingError(f'runtime "numpy" knows no network {network.name!r}, only {", ".join(NETWORKS)}')
        n_inputs = int(np.prod(network.image_shape))
        self._weights: dict[str, np.ndarray] = {
            "b": np.zeros(network.n_classes, np.float32),
            "w": np.zeros((n_inputs, network.n_classes), np.float32),
        }
        self._velocity = {name: np.zeros_like(array) for name, array in self._weights.items()}
        self._loaded = {name: array.copy() for name, array in self._weights.items()}

    def reset(self) -> None:
        self.load({name: np.zeros_like(array) for name, array in self._weights.items()})

    def load(self, weights: Weights) -> None:
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in self._weights.items()}:
            raise TrainingError("the weights do not fit the network softmax")
        self._weights = {name: array.astype(np.float32, copy=True) for name, array in weights.items()}
        self._velocity = {name: np.zeros_like(array) for name, array in self._weights.items()}
        self._loaded = {name: array.copy() for name, array in self._weights.items()}

    def train_batch(self, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> float:
        loss, gradient = self._gradient(images, labels)
        self._step(gradient, hyper)
        return loss

    def rehearse(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._gradient(images, labels)

    def rest(self) -> None:
        """It holds nothing between batches."""

    def logits(self, images: np.ndarray) -> np.ndarray:
        return _pixels(images) @ self._weights["w"] + self._weights["b"]

    def _gradient(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        n = len(labels)
        if n < 1:
            raise TrainingError("a batch without an image")
        x, logits = _pixels(images), self.logits(images)
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits)
        p /= p.sum(axis=1, keepdims=True)
        loss = float(-np.log(np.maximum(p[np.arange(n), labels], 1e-30)).mean())
        p[np.arange(n), labels] -= 1
        return loss, {"b": p.mean(axis=0), "w": x.T @ p / np.float32(n)}

    def weights(self) -> Weights:
        return {name: array.copy() for name, array in self._weights.items()}

    def _step(self, gradient: Weights, hyper: Hyper) -> None:
        if hyper.prox:
            gradient = {
                name: g + np.float32(hyper.prox) * (self._weights[name] - self._loaded[name])
                for name, g in gradient.items()
            }
        norm = float(np.sqrt(sum(float((g**2).sum()) for g in gradient.values())))
        scale = 1.0 if hyper.clip_norm is None or norm <= hyper.clip_norm else hyper.clip_norm / norm
        for name, g in gradient.items():
            w, v = self._weights[name], self._velocity[name]
            v *= np.float32(hyper.momentum)
            v += g * np.float32(scale) + np.float32(hyper.weight_decay) * w
            w -= np.float32(hyper.learning_rate) * v


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(127.5) - np.float32(1.0)
