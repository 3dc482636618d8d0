"""A graph as a TFLite model of builtin operations, for one size of batch; written by its schema, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from server.export.graph import Graph, Node, Shape

STEEP = 1e30
VERSION = 3
TYPES = {
    "float32": schema.TensorType.FLOAT32, "int64": schema.TensorType.INT64, "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8, "bool": schema.TensorType.BOOL,
}  # fmt: skip
OP = schema.BuiltinOperator
OPTIONS = schema.BuiltinOptions
PAIRS = {
    "add": (OP.ADD, OPTIONS.AddOptions, schema.AddOptionsT),
    "sub": (OP.SUB, OPTIONS.SubOptions, schema.SubOptionsT),
    "mul": (OP.MUL, OPTIONS.MulOptions, schema.MulOptionsT),
    "div": (OP.DIV, OPTIONS.DivOptions, schema.DivOptionsT),
    "maximum": (OP.MAXIMUM, OPTIONS.MaximumMinimumOptions, schema.MaximumMinimumOptionsT),
    "minimum": (OP.MINIMUM, OPTIONS.MaximumMinimumOptions, schema.MaximumMinimumOptionsT),
}
PLAIN = {"relu": OP.RELU, "exp": OP.EXP, "log": OP.LOG, "sqrt": OP.SQRT}


def to_tflite(graph: Graph, batch: int) -> bytes:
    """The model; inputs and outputs have the graph's names."""
    writer = _Writer(batch)
    names = {tensor.name: name for name, tensor in graph.outputs.items()}
    for tensor in graph.inputs:
        writer.tensor(tensor.name, tensor.shape, tensor.dtype)
    for name, array in graph.constants.items():
        writer.constant(name, array)
    for node in graph.nodes:
        for tensor in node.outputs:
            writer.tensor(tensor.name, tensor.shape, tensor.dtype, names.get(tensor.name))
        writer.write(node)
    inputs = [writer.index[tensor.name] for tensor in graph.inputs]
    return writer.model(inputs, [writer.index[tensor.name] for tensor in graph.outputs.values()])


class _Writer:
    def __init__(self, batch: int) -> None:
        self.index: dict[str, int] = {}
        self._batch = batch
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[int, int] = {}
        self._buffers = [schema.BufferT()]  # the first one is empty, for all that is computed
        self._numbers: dict[tuple[int, ...], int] = {}

    def tensor(self, name: str, shape: Shape, dtype: str, shown: str | None = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = (shown or name).encode(), TYPES[dtype], 0
        tensor.shape = np.array(self._sizes(shape), np.int32)
        self._tensors.append(tensor)
        self.index[name] = len(self._tensors) - 1
        return self.index[name]

    def constant(self, name: str, array: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self._buffers.append(buffer)
        at = self.tensor(name, array.shape, str(array.dtype))
        self._tensors[at].buffer = len(self._buffers) - 1
        return at

    def put(self, code: int, inputs: Sequence[int], outputs: Sequence[int], kind: int = 0, options: Any = None) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._operators.append(operator)

    def write(self, node: Node) -> None:
        x, out = [self.index[t.name] for t in node.inputs], [self.index[t.name] for t in node.outputs]
        shape = node.outputs[0].shape
        match node.kind:
            case "positive":
                self._clipped(self._scaled(x[0], shape, out[0]), out[0])
            case "reached":
                less = self._between(shape, out[0])
                self._pair("sub", x, less)
                raised = self._between(shape, out[0])
                self._pair("add", [self._scaled(less, shape, out[0]), self._number(1.0)], raised)
                self._clipped(raised, out[0])
            case "same":
                is_same = self._between(shape, out[0], "bool")
                self.put(OP.EQUAL, x, [is_same], OPTIONS.EqualOptions, schema.EqualOptionsT())
                self._cast(is_same, out[0], "bool")
            case "number":
                self._cast(x[0], out[0], node.inputs[0].dtype)
            case "matmul":
                options = schema.BatchMatMulOptionsT()
                options.adjX, options.adjY = node.turned
                self.put(OP.BATCH_MATMUL, x, out, OPTIONS.BatchMatMulOptions, options)
            case "sum" | "max":
                self._reduced(OP.SUM if node.kind == "sum" else OP.REDUCE_MAX, x[0], node.axes, node.keep, out)
            case "sum_of_squares":
                squares = self._between(node.inputs[0].shape, out[0])
                self._pair("mul", [x[0], x[0]], squares)
                self._reduced(OP.SUM, squares, node.axes, False, out)
            case "reshape":
                options = schema.ReshapeOptionsT()
                options.newShape = np.array(self._sizes(shape), np.int32)
                self.put(OP.RESHAPE, [x[0], self._integers(self._sizes(shape))], out, OPTIONS.ReshapeOptions, options)
            case "transpose":
                options = schema.TransposeOptionsT()
                self.put(OP.TRANSPOSE, [x[0], self._integers(node.axes)], out, OPTIONS.TransposeOptions, options)
            case "gather":
                options = schema.GatherOptionsT()
                options.axis = node.axes[0]
                self.put(OP.GATHER, x, out, OPTIONS.GatherOptions, options)
            case "with_zero_row":
                around = [0, 1, *[0, 0] * (len(shape) - 1)]
                padding = self._integers(around, (len(shape), 2))
                self.put(OP.PAD, [x[0], padding], out, OPTIONS.PadOptions, schema.PadOptionsT())
            case "split":
                options = schema.SplitOptionsT()
                options.numSplits = len(out)
                self.put(OP.SPLIT, [self._integers([0], ()), x[0]], out, OPTIONS.SplitOptions, options)
            case "add" | "sub" | "mul" | "div" | "maximum" | "minimum":
                self._pair(node.kind, x, out[0])
            case plain:
                self.put(PLAIN[plain], x, out)

    def model(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self._tensors, self._operators, b"fimi"
        graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        model = schema.ModelT()
        model.version, model.description, model.subgraphs, model.buffers = VERSION, b"fimi", [graph], self._buffers
        model.operatorCodes = []
        for code in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    # ---- helpers ----

    def _sizes(self, shape: Iterable[int]) -> list[int]:
        return [-d * self._batch if d < 0 else d for d in shape]

    def _between(self, shape: Shape, out: int, dtype: str = "float32") -> int:
        return self.tensor(f"{out}.{len(self._tensors)}", shape, dtype)

    def _scaled(self, x: int, shape: Shape, out: int) -> int:
        scaled = self._between(shape, out)
        self._pair("mul", [x, self._number(STEEP)], scaled)
        return scaled

    def _clipped(self, x: int, out: int) -> None:
        self.put(OP.RELU_0_TO_1, [x], [out])

    def _pair(self, kind: str, x: Sequence[int], out: int) -> None:
        code, option, options = PAIRS[kind]
        self.put(code, x, [out], option, options())

    def _cast(self, x: int, out: int, dtype: str) -> None:
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = TYPES[dtype], TYPES["float32"]
        self.put(OP.CAST, [x], [out], OPTIONS.CastOptions, options)

    def _reduced(self, code: int, x: int, axes: Iterable[int], keep: bool, out: list[int]) -> None:
        options = schema.ReducerOptionsT()
        options.keepDims = keep
        self.put(code, [x, self._integers(axes)], out, OPTIONS.ReducerOptions, options)

    def _number(self, value: float) -> int:
        name = f"number {value!r}"
        return self.index.get(name) or self.constant(name, np.array(value, np.float32))

    def _integers(self, values: Iterable[int], shape: tuple[int, ...] | None = None) -> int:
        array = np.array(list(values), np.int32)
        array = array if shape is None else array.reshape(shape)
        name = f"integers {array.tolist()!r} {array.shape}"
        return self.index.get(name) or self.constant(name, array)
