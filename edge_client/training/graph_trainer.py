"""A trainer by graphs, the same for all runtimes: `Trainer` of trainer.py on an `Engine`."""

from __future__ import annotations

import numpy as np

from edge_client.errors import TrainingError
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.graphs import Bundle, check_weights
from edge_client.protocol.messages import NetworkSpec
from edge_client.protocol.weights import Computed
from edge_client.training.engines import Engine
from edge_client.training.trainer import Hyper, Weights, parts

NOBODY = -1
"""The label of an image that only fills up a batch."""

NO_BOUND = 1e30
"""A clip_norm that no gradient reaches; over the least norm, 1e-6, it is still a float32."""


class GraphTrainer:
    """Graphs of one size of batch do larger ones in parts, and fill smaller ones up with images of nobody."""

    def __init__(self, bundle: Bundle, network: NetworkSpec, engine: Engine) -> None:
        if bundle.network != network:
            raise TrainingError(f"the graphs are of {bundle.network}, not of {network}")
        self._bundle = bundle
        self._engine = engine
        self._layouts = {layout.name: layout for layout in bundle.weights}
        self.at_once = bundle.batch
        self.reset()

    def reset(self) -> None:
        self.load(_drawn(self._bundle))

    def load(self, weights: Weights) -> None:
        try:
            check_weights(self._layouts, weights)
        except ProtocolError as error:
            raise TrainingError(str(error)) from error
        for name, layout in self._layouts.items():  # one at a time: all of them at once are as much again
            own = layout.to_graph(weights[name])
            self._engine.put({f"p.{name}": own, f"m.{name}": np.zeros(layout.graph_shape, np.float32)})
            if "prox" in self._bundle.terms:
                self._engine.put({f"g.{name}": own})

    def train_batch(self, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> float:
        scalars = self._scalars(hyper)
        cut = parts(len(labels), self.at_once)
        if len(cut) == 1:
            return float(self._given("step", "loss", {**self._filled(images, labels), **scalars}))
        self._clear_sums()
        loss = sum(self._gradient(images[own], labels[own], len(labels)) for own in cut)
        self._engine.run("apply", scalars)
        return loss

    def rehearse(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._clear_sums()
        self._gradient(images, labels, len(labels))

    def weights(self) -> Weights:
        return Computed(self._layouts, lambda name: self._layouts[name].from_graph(self._engine.get(f"p.{name}")))

    def rest(self) -> None:
        blank = np.zeros((1, *self._bundle.network.image_shape), np.uint8)
        self._engine.rest({"images": self._filled(blank, np.zeros(1, np.int64))["images"]})

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(N, classes) float32."""
        found = []
        for own in parts(len(images), self.at_once):
            filled = self._filled(images[own], np.zeros(len(images[own]), np.int64))
            out = self._given("evaluate", "logits", {"images": filled["images"]})
            found.append(np.array(out[: len(images[own])]))
        return np.concatenate(found)

    def _gradient(self, images: np.ndarray, labels: np.ndarray, samples: int) -> float:
        """Add the gradient of these images' part in the mean loss of `samples` images; returns that part."""
        given = {**self._filled(images, labels), "samples": np.array(samples, np.float32)}
        return float(self._given("gradient", "loss", given))

    def _given(self, part: str, name: str, given: dict[str, np.ndarray]) -> np.ndarray:
        """What a part gives under this name."""
        found = self._engine.run(part, given)
        if name not in found:
            raise TrainingError(f"the graph {part} gives no {name}: it is not what its name says")
        return found[name]

    def _clear_sums(self) -> None:
        for name, own in self._layouts.items():
            self._engine.put({f"s.{name}": np.zeros(own.graph_shape, np.float32)})

    def _filled(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """A batch; with images of nobody where graphs take one size of batch alone."""
        lacking = 0 if self._bundle.batch is None else self._bundle.batch - len(labels)
        if lacking:
            images = np.concatenate([images, np.zeros((lacking, *images.shape[1:]), images.dtype)])
            labels = np.concatenate([labels, np.full(lacking, NOBODY, labels.dtype)])
        return {"images": images, "labels": labels.astype(np.int64, copy=False)}

    def _scalars(self, hyper: Hyper) -> dict[str, np.ndarray]:
        """A term that the graphs have and the task does not want is given the number with which it does nothing."""
        terms = {
            "clip_norm": (hyper.clip_norm, NO_BOUND),
            "weight_decay": (hyper.weight_decay or None, 0.0),
            "prox": (hyper.prox or None, 0.0),
        }
        values = {"learning_rate": hyper.learning_rate, "momentum": hyper.momentum}
        for name, (asked, nothing) in terms.items():
            if name in self._bundle.terms:
                values[name] = nothing if asked is None else asked
            elif asked is not None:
                raise TrainingError(f"the task has {name} {asked:g}, and its graphs were exported without")
        return {name: np.array(value, np.float32) for name, value in values.items()}


def _drawn(bundle: Bundle) -> Weights:
    """Weights to begin with where none are given, by He et al. (arXiv 1502.01852), vectors zero."""
    rng = np.random.default_rng(0)
    return {
        own.name: np.zeros(own.shape, np.float32)
        if len(own.shape) < 2
        else (rng.standard_normal(own.shape) * np.sqrt(2.0 / np.prod(own.shape[1:]))).astype(np.float32)
        for own in bundle.weights
    }
