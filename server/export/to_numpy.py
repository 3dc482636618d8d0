"""A graph as a program of the client's own interpreter."""

from __future__ import annotations

import numpy as np

from edge_client.protocol.graphs import Array, Instruction, Program
from server.export.graph import Graph, Tensor


def to_numpy(graph: Graph) -> Program:
    """Values are numbered in the order in which they come."""
    numbers: dict[str, int] = {}

    def number(tensor: Tensor | str) -> int:
        name = tensor if isinstance(tensor, str) else tensor.name
        return numbers.setdefault(name, len(numbers))

    return Program(
        inputs={tensor.name: number(tensor) for tensor in graph.inputs},
        constants={number(name): _array(values) for name, values in graph.constants.items()},
        instructions=tuple(
            Instruction(
                kind=node.kind,
                inputs=tuple(map(number, node.inputs)),
                outputs=tuple(map(number, node.outputs)),
                axes=node.axes,
                keep=node.keep,
                turned=node.turned,
                sizes=node.outputs[0].shape if node.kind == "reshape" else (),
            )
            for node in graph.nodes
        ),
        outputs={name: number(tensor) for name, tensor in graph.outputs.items()},
    )


def _array(values: np.ndarray) -> Array:
    return Array(dtype=str(values.dtype), shape=values.shape, data=values.tobytes())  # type: ignore[arg-type]
