"""A network's training as graphs: a step of SGD; the same in two, for batches that memory does not hold; evaluation.

    step      images (batch, H, W, C) uint8, labels (batch,) int64, p.NAME and m.NAME of each weight, learning_rate,
              momentum, and, as the options want them, weight_decay, clip_norm, prox with g.NAME of each weight
              -> p.NAME, m.NAME as they are after the step, loss (); outputs are named next.NAME of what they follow
    gradient  images, labels, p.NAME, s.NAME of each weight, samples () -> next.s.NAME, loss: the part of the images in
              the gradient of the mean loss of `samples` images, added to s.NAME
    apply     p.NAME, m.NAME, s.NAME and the scalars of a step -> next.p.NAME, next.m.NAME: the rest of it
    evaluate  images, p.NAME -> logits (batch, classes)

A label of -1 is that of an image that only fills up a batch: it counts for nothing.

SGD is PyTorch's: m = momentum * m + g + weight_decay * p; p = p - learning_rate * m, with g scaled down to the norm
`clip_norm` over all weights (plus 1e-6, as `clip_grad_norm_` has it), and the term of FedProx (Li et al., arXiv
1812.06127), prox * (p - global p), added before. Weights have the graph's own shapes: see `Exported.orders`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn

from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.errors import ConfigError
from server.export.build import Build, Weight
from server.export.graph import Graph, Tensor
from server.export.rows import Flat, Rows
from server.export.rules import RULES


@dataclass(frozen=True)
class Options:
    """What of the step a graph has."""

    clip: bool = True
    weight_decay: bool = False
    prox: bool = False

    @property
    def terms(self) -> list[str]:
        """By the names of their inputs."""
        there = {"clip_norm": self.clip, "weight_decay": self.weight_decay, "prox": self.prox}
        return [name for name, own in there.items() if own]


Part = Literal["step", "gradient", "apply", "evaluate"]


@dataclass(frozen=True)
class Exported:
    """A graph, and for each weight the order of the network's axes in the graph's shape: a filter (O, C, kh, kw) is
    (kh, kw, C, O) there."""

    graph: Graph
    orders: dict[str, tuple[int, ...]]


def export(network: NetworkSpec, part: Part, options: Options) -> Exported:
    """Raises ConfigError for a network that cannot be exported, with the operation that cannot."""
    try:
        module = networks.build(network.name, network.image_shape, network.n_classes)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return export_module(module, network.image_shape, part, options)


def export_module(module: nn.Module, image_shape: tuple[int, int, int], part: Part, options: Options) -> Exported:
    """The same of any module from (N, C, H, W) to logits."""
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    if twice := set(names) - {name for name, _ in module.named_parameters()}:
        raise ConfigError(f"cannot export {type(module).__name__}: {min(twice)} is another weight's second name")
    graph = Graph()
    if part == "apply":
        weights = [_weight(graph, name, tuple(p.shape)) for name, p in module.named_parameters()]
        sums = {weight.name: graph.input(f"s.{weight.name}", weight.tensor.shape) for weight in weights}
        _sgd(graph, weights, sums, options)
        return Exported(graph, {weight.name: weight.order for weight in weights})
    build, logits, weights = _forward(graph, module, image_shape)
    if part == "evaluate":
        graph.output("logits", logits)
    else:
        _backward(graph, build, logits, graph.input("samples", ()) if part == "gradient" else None)
        missing = [weight.name for weight in weights if weight.name not in build.of_weights]
        if missing:
            raise ConfigError(f"cannot export {type(module).__name__}: its loss does not depend on {missing[0]}")
    if part == "step":
        _sgd(graph, weights, build.of_weights, options)
    if part == "gradient":
        for weight in weights:
            held = graph.input(f"s.{weight.name}", weight.tensor.shape)
            graph.output(f"next.s.{weight.name}", graph.add(held, build.of_weights[weight.name]))
    return Exported(graph, {weight.name: weight.order for weight in weights})


def _backward(graph: Graph, build: Build, logits: Tensor, samples: Tensor | None) -> None:
    """Cross-entropy, its mean over `samples` (None: those of the batch), and the gradients of all weights."""
    classes = logits.shape[1]
    labels = graph.reshape(graph.input("labels", (-1,), "int64"), (-1, 1))
    shifted = graph.sub(logits, graph.max(logits, (1,), keep=True))
    powers = graph.exp(shifted)
    total = graph.sum(powers, (1,), keep=True)
    mine = graph.same(labels, graph.constant(np.arange(classes)[None]))
    there = graph.sum(mine, (1,), keep=True)
    n = graph.sum(there, (0, 1)) if samples is None else samples
    losses = graph.sub(graph.mul(graph.log(total), there), graph.sum(graph.mul(shifted, mine), (1,), keep=True))
    graph.output("loss", graph.div(graph.sum(losses, (0, 1)), n))
    build.flow(build.backs[-1][0], graph.div(graph.sub(graph.mul(graph.div(powers, total), there), mine), n))
    for node, back in reversed(build.backs):
        if node in build.gradients:
            back(build.gradients[node])


def _forward(graph: Graph, module: nn.Module, image_shape: tuple[int, int, int]) -> tuple[Build, Tensor, list[Weight]]:
    height, width, channels = image_shape
    images = graph.input("images", (-1, height, width, channels), "uint8")
    rows = graph.transpose(graph.reshape(images, (-1, height * width, channels)), (1, 0, 2))
    pixels = graph.sub(graph.div(graph.number(rows), 127.5), 1.0)  # as `models.networks.normalise`
    program = torch.export.export(module.eval(), (torch.zeros(2, channels, height, width),))
    names = program.graph_signature.inputs_to_parameters
    weights: dict[fx.Node, Weight] = {}
    build = Build(graph, weights)
    nodes = list(program.graph.nodes)
    if program.graph_signature.inputs_to_buffers:
        buffer = next(iter(program.graph_signature.inputs_to_buffers.values()))
        raise ConfigError(f"cannot export {type(module).__name__}: its {buffer} is no weight, and would not travel")
    taken: set[fx.Node] = set()
    for node in nodes:
        if node.op == "placeholder":
            if node.name in names:
                weights[node] = _weight(graph, names[node.name], tuple(node.meta["val"].shape))
            elif node.name not in program.graph_signature.user_inputs:
                raise ConfigError(
                    f"cannot export {type(module).__name__}: {node.name} is no weight, and would not travel"
                )
            else:
                build.images = node
                build.values[node] = Rows(pixels, np.arange(height * width).reshape(height, width))
        elif node.op == "call_function" and node not in taken:
            rule = RULES.get(str(node.target))
            if rule is None:
                raise ConfigError(f"cannot export {type(module).__name__}: no rule for {node.target} ({node.name})")
            taken.update(_between(node, rule(build, node)))
        elif node.op == "output":
            outputs: Any = node.args[0]
            build.values[node] = build.values[outputs[0]]
            build.backs.append((node, partial(build.flow, outputs[0])))
    value = build.values[nodes[-1]]
    if not isinstance(value, Flat):
        raise ConfigError(f"cannot export {type(module).__name__}: it gives no logits (N, classes)")
    return build, value.tensor, list(weights.values())


def _between(node: fx.Node, last: fx.Node) -> Iterator[fx.Node]:
    """The nodes after `node` that its rule has done with it, the last one first."""
    while last is not node:
        yield last
        before: Any = last.args[0]
        last = before


def _weight(graph: Graph, name: str, shape: tuple[int, ...]) -> Weight:
    order = (2, 3, 1, 0) if len(shape) == 4 else tuple(range(len(shape)))
    own = (shape[2] * shape[3], shape[1], shape[0]) if len(shape) == 4 else shape
    return Weight(name, graph.input(f"p.{name}", own), order)


def _sgd(graph: Graph, weights: list[Weight], gradients: dict[str, Tensor], options: Options) -> None:
    rate, momentum = graph.input("learning_rate", ()), graph.input("momentum", ())
    moving = {weight.name: graph.input(f"m.{weight.name}", weight.tensor.shape) for weight in weights}
    decay = graph.input("weight_decay", ()) if options.weight_decay else None
    if options.prox:
        prox = graph.input("prox", ())
        for weight in weights:
            whole = graph.input(f"g.{weight.name}", weight.tensor.shape)
            pull = graph.mul(graph.sub(weight.tensor, whole), prox)
            gradients[weight.name] = graph.add(gradients[weight.name], pull)
    scale = None
    if options.clip:
        # Last layer first: runtimes that order operations by depth from the outputs (onnxruntime) then find each
        # layer's gradient as soon as it can be had, and let go of what it is made of before the next needs room.
        squares = [graph.sum_of_squares(gradients[weight.name]) for weight in reversed(weights)]
        total = squares[0]
        for own in squares[1:]:
            total = graph.add(total, own)
        norm = graph.add(graph.sqrt(total), 1e-6)
        scale = graph.minimum(graph.div(graph.input("clip_norm", ()), norm), 1.0)
    for weight in weights:
        g, p, m = gradients[weight.name], weight.tensor, moving[weight.name]
        if scale is not None:
            g = graph.mul(g, scale)
        if decay is not None:
            g = graph.add(g, graph.mul(p, decay))
        m = graph.add(graph.mul(m, momentum), g)
        graph.output(f"next.m.{weight.name}", m)
        graph.output(f"next.p.{weight.name}", graph.sub(p, graph.mul(m, rate)))
