"""Bundles of graphs for the runtimes of devices, behind `fimi-server export-step`."""

from __future__ import annotations

from typing import get_args

from edge_client.protocol import graphs
from edge_client.protocol.graphs import Bundle, Layout, Runtime
from edge_client.protocol.messages import NetworkSpec
from models import networks
from server.errors import ConfigError
from server.export.graph import Graph
from server.export.step import Options, Part, export


def make_bundle(network: NetworkSpec, runtime: Runtime, options: Options, *, batch: int | None = None) -> Bundle:
    """All parts for one runtime; `batch`: the one size of batch that TFLite's graphs take.

    Raises ConfigError for a network that cannot be exported, MissingExtraError (through the import) without its writer.
    """
    if (batch is None) == (runtime == "tflite"):
        raise ConfigError(f"batch {batch}: TFLite's graphs are for one size of batch, the others' for any")
    exported = {part: export(network, part, options) for part in get_args(Part)}
    shapes = networks.shapes(network.name, network.image_shape, network.n_classes)
    orders = exported["step"].orders
    return Bundle(
        format=graphs.FORMAT,
        runtime=runtime,
        network=network,
        batch=batch,
        terms=tuple(options.terms),
        weights=tuple(Layout(name=name, shape=shapes[name], order=order) for name, order in sorted(orders.items())),
        parts={part: _written(own.graph, runtime, batch) for part, own in exported.items()},
    )


def _written(graph: Graph, runtime: Runtime, batch: int | None) -> bytes:
    if runtime == "onnx":
        from server.export.to_onnx import to_onnx

        return to_onnx(graph)
    if runtime == "tflite":
        from server.export.to_tflite import to_tflite

        assert batch is not None  # refused above
        return to_tflite(graph, batch)
    from server.export.to_numpy import to_numpy

    return graphs.pack_program(to_numpy(graph))
