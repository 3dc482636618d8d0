"""A network on its way into a graph: what each of its operations has become, and the gradients on their way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import fx

from server.errors import ConfigError
from server.export.graph import Graph, Tensor
from server.export.rows import Flat, Rows

Value = Rows | Flat
Back = Callable[[Tensor], None]
"""From the gradient of a value, in the value's own layout, on to those of what it was made of."""


@dataclass
class Build:
    """A network on its way into a graph. `values` and `gradients` by node, `weights` by node of their parameter."""

    graph: Graph
    weights: Mapping[fx.Node, Weight]
    values: dict[fx.Node, Value] = field(default_factory=dict)
    backs: list[tuple[fx.Node, Back]] = field(default_factory=list)
    gradients: dict[fx.Node, Tensor] = field(default_factory=dict)
    of_weights: dict[str, Tensor] = field(default_factory=dict)
    images: fx.Node | None = None

    def flow(self, node: fx.Node, gradient: Tensor) -> None:
        """More gradient for what a node gave."""
        held = self.gradients.get(node)
        self.gradients[node] = gradient if held is None else self.graph.add(held, gradient)

    def weigh(self, name: str, gradient: Tensor) -> None:
        """More gradient for a weight: a network may use it twice."""
        held = self.of_weights.get(name)
        self.of_weights[name] = gradient if held is None else self.graph.add(held, gradient)

    def wanted(self, node: fx.Node) -> bool:
        """Whether anybody asks for its gradient: nobody does for the images'."""
        return node is not self.images

    def rows(self, node: fx.Node) -> Rows:
        value = self.values[node]
        if not isinstance(value, Rows):
            raise ConfigError(f"cannot export {node}: flattened already where images are expected")
        return value

    def flat(self, node: fx.Node) -> Flat:
        value = self.values[node]
        if not isinstance(value, Flat):
            raise ConfigError(f"cannot export {node}: not flattened where a vector is expected")
        return value


@dataclass(frozen=True)
class Weight:
    """A parameter: its name, the graph's tensor, and how the graph's shape comes of the network's: axes in `order`."""

    name: str
    tensor: Tensor
    order: tuple[int, ...]


Rule = Callable[[Build, fx.Node], fx.Node]
"""Gives a value to a node, or to the last of several that it takes at once, which it returns."""
