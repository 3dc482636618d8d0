"""A model for use without FIMI: the graph that evaluates, with the weights in it.

It takes images (N, H, W, C) uint8 and gives logits (N, classes) float32; for TFLite N is the batch of its bundle.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_client.errors import MissingExtraError, TrainingError
from edge_client.protocol.graphs import Bundle, check_weights
from edge_client.training.trainer import Weights

SUFFIX = {"onnx": ".onnx", "tflite": ".tflite"}


def frozen(bundle: Bundle, weights: Weights) -> bytes:
    """The model's file. Raises TrainingError for a runtime that has none, ProtocolError for weights that do not fit."""
    check_weights({layout.name: layout for layout in bundle.weights}, weights)
    own = {f"p.{layout.name}": layout.to_graph(weights[layout.name]) for layout in bundle.weights}
    if bundle.runtime == "onnx":
        return bundle.parts["evaluate"] + _field(_GRAPH, b"".join(_initializers(own)))
    if bundle.runtime == "tflite":
        return _tflite(bundle.parts["evaluate"], own)
    raise TrainingError(f"runtime {bundle.runtime} has no form of models of its own; export for onnx or tflite")


# ---- ONNX: Protocol Buffers merge a field that comes twice, so that initializers can be added behind a model ---------

_GRAPH, _INITIALIZER = 7, 5  # of ModelProto, of GraphProto (onnx.proto)
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9  # of TensorProto
_FLOAT = 1


def _initializers(own: dict[str, np.ndarray]) -> Iterator[bytes]:
    """An initializer of an input's name is its value where none is given."""
    for name, array in own.items():
        tensor = b"".join(_varint(_DIMS << 3) + _varint(size) for size in array.shape)
        tensor += _varint(_DATA_TYPE << 3) + _varint(_FLOAT)
        tensor += _field(_NAME, name.encode()) + _field(_RAW_DATA, array.astype("<f4").tobytes())
        yield _field(_INITIALIZER, tensor)


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# ---- TFLite ----------------------------------------------------------------------------------------------------------


def _tflite(model: bytes, own: dict[str, np.ndarray]) -> bytes:
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError(
            f"TFLite's models are written by ai-edge-litert's schema ({error}); run: pip install 'fimi[litert]'"
        ) from error
    held = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    (graph,) = held.subgraphs
    for index, tensor in enumerate(graph.tensors):
        name = tensor.name.decode()
        if index in graph.inputs and name in own:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(own[name].astype("<f4").tobytes(), np.uint8)
            tensor.buffer = len(held.buffers)
            held.buffers.append(buffer)
    graph.inputs = [index for index in graph.inputs if graph.tensors[index].name.decode() not in own]
    builder = flatbuffers.Builder(sum(array.nbytes for array in own.values()) + len(model))
    builder.Finish(held.Pack(builder), b"TFL3")
    return bytes(builder.Output())
