"""A trainer by graphs, the same for all runtimes: `Trainer` of trainer.py on an `Engine`."""

from __future__ import annotations

import numpy as np

from edge_client.errors import TrainingError
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.graphs import Bundle, check_weights
from edge_client.protocol.messages import NetworkSpec
from edge_client.training.engines import Engine
from edge_client.training.trainer import Hyper, Weights

NOBODY = -1
"""The label of an image that only fills up a batch."""


class GraphTrainer:
    """`at_once`: the most images that are done together (None: a whole batch): more are done in parts, with the same
    result but for rounding."""

    def __init__(self, bundle: Bundle, network: NetworkSpec, engine: Engine, *, at_once: int | None = None) -> None:
        if bundle.network != network:
            raise TrainingError(f"the graphs are of {bundle.network}, not of {network}")
        self._bundle = bundle
        self._engine = engine
        self._layouts = {layout.name: layout for layout in bundle.weights}
        sizes = [own for own in (bundle.batch, at_once) if own is not None]
        self._at_once = min(sizes) if sizes else None

    def load(self, weights: Weights) -> None:
        try:
            check_weights(self._layouts, weights)
        except ProtocolError as error:
            raise TrainingError(str(error)) from error
        state = {}
        for name, layout in self._layouts.items():
            state[f"p.{name}"] = layout.to_graph(weights[name])
            state[f"m.{name}"] = np.zeros(layout.graph_shape, np.float32)
            if "prox" in self._bundle.terms:
                state[f"g.{name}"] = state[f"p.{name}"]
        self._engine.put(state)

    def train_batch(self, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> float:
        if len(labels) == 0:
            raise TrainingError("a batch without an image")
        scalars = self._scalars(hyper)
        parts = self._cut(len(labels))
        if len(parts) == 1:
            return float(self._engine.run("step", {**self._filled(images, labels), **scalars})["loss"])
        self._engine.put({f"s.{name}": np.zeros(own.graph_shape, np.float32) for name, own in self._layouts.items()})
        samples = np.array(len(labels), np.float32)
        losses = [
            float(self._engine.run("gradient", {**self._filled(images[own], labels[own]), "samples": samples})["loss"])
            for own in parts
        ]
        self._engine.run("apply", scalars)
        return sum(losses)

    def weights(self) -> Weights:
        return {name: own.from_graph(self._engine.get(f"p.{name}")) for name, own in self._layouts.items()}

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(N, classes) float32."""
        found = []
        for own in self._cut(len(images)):
            filled = self._filled(images[own], np.zeros(len(images[own]), np.int64))
            out = self._engine.run("evaluate", {"images": filled["images"]})["logits"]
            found.append(np.array(out[: len(images[own])]))
        return np.concatenate(found)

    def _cut(self, n: int) -> list[slice]:
        most = self._at_once or n
        return [slice(start, min(start + most, n)) for start in range(0, n, most)]

    def _filled(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """A batch; with images of nobody where graphs take one size of batch alone."""
        lacking = 0 if self._bundle.batch is None else self._bundle.batch - len(labels)
        if lacking:
            images = np.concatenate([images, np.zeros((lacking, *images.shape[1:]), images.dtype)])
            labels = np.concatenate([labels, np.full(lacking, NOBODY, labels.dtype)])
        return {"images": images, "labels": labels.astype(np.int64, copy=False)}

    def _scalars(self, hyper: Hyper) -> dict[str, np.ndarray]:
        asked = {"clip_norm": hyper.clip_norm, "weight_decay": hyper.weight_decay or None}
        for name, value in asked.items():
            if (value is not None) != (name in self._bundle.terms):
                there = "have" if name in self._bundle.terms else "lack"
                raise TrainingError(f"the graphs {there} a {name}, the task has {value}")
        values = {"learning_rate": hyper.learning_rate, "momentum": hyper.momentum}
        values |= {name: value for name, value in asked.items() if value is not None}
        return {name: np.array(value, np.float32) for name, value in values.items()}
