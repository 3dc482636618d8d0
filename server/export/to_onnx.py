"""A graph as an ONNX model of plain operations, opset 17: any onnxruntime from 1.15 on runs it on any processor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from server.export.graph import Graph, Node, Shape, Tensor

OPSET, IR_VERSION = 17, 8
STEEP = 1e30
"""A hard sigmoid so steep is 1 for all positive numbers and 0 for all others: a mask in one pass."""
TYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
}
SIMPLE = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min", "relu": "Relu",
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt",
}  # fmt: skip


def to_onnx(graph: Graph, metadata: dict[str, str] | None = None) -> bytes:
    """The model; `metadata` goes along."""
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.write(node)
    for name, tensor in graph.outputs.items():
        writer.put("Identity", [tensor.name], [name])
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            "fimi",
            [_about(t.name, t) for t in graph.inputs],
            [_about(name, t) for name, t in graph.outputs.items()],
            writer.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fimi",
    )
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    return model.SerializeToString()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
        self._numbers: dict[tuple[int, ...], str] = {}

    def put(self, kind: str, inputs: Iterable[str], outputs: Iterable[str], **attributes: Any) -> None:
        made = list(outputs)
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=f"{kind}.{made[0]}", **attributes))

    def write(self, node: Node) -> None:
        names, out = [t.name for t in node.inputs], [t.name for t in node.outputs]
        match node.kind:
            case "positive":
                self.put("HardSigmoid", names, out, alpha=STEEP, beta=0.0)
            case "reached":
                self.put("Sub", names, [f"{out[0]}.less"])
                self.put("HardSigmoid", [f"{out[0]}.less"], out, alpha=STEEP, beta=1.0)
            case "same":
                self.put("Equal", names, [f"{out[0]}.is"])
                self.put("Cast", [f"{out[0]}.is"], out, to=TensorProto.FLOAT)
            case "number":
                self.put("Cast", names, out, to=TensorProto.FLOAT)
            case "matmul":
                self._product(node, names, out)
            case "sum":
                self.put("ReduceSum", [names[0], self._constant(node.axes)], out, keepdims=int(node.keep))
            case "max":
                self.put("ReduceMax", names, out, axes=node.axes, keepdims=int(node.keep))
            case "sum_of_squares":
                self.put("ReduceSumSquare", names, out, axes=node.axes, keepdims=0)
            case "reshape":
                self.put("Reshape", [names[0], self._constant(_sizes(node.outputs[0].shape))], out)
            case "transpose":
                self.put("Transpose", names, out, perm=node.axes)
            case "gather":
                self.put("Gather", names, out, axis=node.axes[0])
            case "with_zero_row":
                n = len(node.outputs[0].shape)
                self.put("Pad", [names[0], self._constant((*[0] * n, 1, *[0] * (n - 1)))], out)
            case "split":
                self.put("Split", names, out, axis=0)
            case simple:
                self.put(SIMPLE[simple], names, out)

    def _product(self, node: Node, names: list[str], out: list[str]) -> None:
        if all(len(t.shape) == 2 for t in node.inputs):
            self.put("Gemm", names, out, transA=int(node.turned[0]), transB=int(node.turned[1]))
            return
        operands: list[str] = []
        for name, tensor, turned in zip(names, node.inputs, node.turned, strict=True):
            if turned:
                order = [*range(len(tensor.shape) - 2), len(tensor.shape) - 1, len(tensor.shape) - 2]
                self.put("Transpose", [name], [f"{out[0]}.{len(operands)}"], perm=order)
                name = f"{out[0]}.{len(operands)}"
            operands.append(name)
        self.put("MatMul", operands, out)

    def _constant(self, values: Iterable[int]) -> str:
        key = tuple(values)
        if key not in self._numbers:
            self._numbers[key] = f"n{len(self._numbers)}"
            self.constants.append(numpy_helper.from_array(np.array(key, np.int64), self._numbers[key]))
        return self._numbers[key]


def _sizes(shape: Shape) -> list[int]:
    return [-1 if d < 0 else d for d in shape]


def _about(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    sizes = ["batch" if d == -1 else f"{-d} batch" if d < 0 else d for d in tensor.shape]
    return helper.make_tensor_value_info(name, TYPES[tensor.dtype], sizes)
