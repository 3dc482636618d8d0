"""A training step as a graph of few, plain tensor operations: written once, turned into each runtime's own form.

Shapes are static but for the batch: a dimension of -k stands for k times the batch, and a tensor has at most one such.
Operations are those that every runtime has and is fast at; masks are numbers (1.0 or 0.0) and not booleans, which cost
onnxruntime a multiple of any product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Shape = tuple[int, ...]
Kind = Literal[
    "add", "sub", "mul", "div", "maximum", "minimum",  # elementwise, broadcast
    "relu", "exp", "log", "sqrt",
    "positive",  # 1.0 where a > 0, else 0.0
    "reached",  # 1.0 where a >= b, else 0.0
    "same",  # of integers: 1.0 where a == b, else 0.0
    "number",  # integers as float32
    "matmul", "sum", "max", "sum_of_squares", "reshape", "transpose", "gather", "with_zero_row", "split",
]  # fmt: skip

MOVES = ("reshape", "transpose", "gather", "with_zero_row", "split")
"""Operations that only move numbers, of whatever type."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph."""

    name: str
    shape: Shape
    dtype: str = "float32"


@dataclass(frozen=True)
class Node:
    """One operation. `axes`: of sums and maxima those that go (kept as 1 where `keep`), of a transposition the order,
    of a gather or split the one axis; `turned`: which operands of a product are transposed in their last two axes."""

    kind: Kind
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    axes: tuple[int, ...] = ()
    keep: bool = False
    turned: tuple[bool, bool] = (False, False)


@dataclass
class Graph:
    """Built by its methods, each of which returns what the operation gives; a shape that does not fit is ValueError."""

    inputs: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    _known: dict[tuple[str, Shape, bytes], Tensor] = field(default_factory=dict)
    _made: int = 0

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> Tensor:
        tensor = Tensor(name, tuple(shape), dtype)
        self.inputs.append(tensor)
        return tensor

    def output(self, name: str, tensor: Tensor) -> None:
        self.outputs[name] = tensor

    def constant(self, values: np.ndarray | float | Sequence[float]) -> Tensor:
        """Floats become float32, integers stay as they are; equal ones are kept once."""
        array = np.ascontiguousarray(values)
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        array = array.reshape(np.shape(values))
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            tensor = Tensor(f"c{len(self.constants)}", array.shape, str(array.dtype))
            self.constants[tensor.name] = array
            self._known[key] = tensor
        return self._known[key]

    # ---- elementwise ----

    def add(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._pair("add", a, b)

    def sub(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._pair("sub", a, b)

    def mul(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._pair("mul", a, b)

    def div(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._pair("div", a, b)

    def maximum(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._pair("maximum", a, b)

    def minimum(self, a: Tensor, b: Tensor | float) -> Tensor:
        return self._pair("minimum", a, b)

    def reached(self, a: Tensor, b: Tensor) -> Tensor:
        return self._pair("reached", a, b)

    def same(self, a: Tensor, b: Tensor) -> Tensor:
        return self._emit("same", (a, b), broadcast(a.shape, b.shape))

    def relu(self, a: Tensor) -> Tensor:
        return self._emit("relu", (a,), a.shape)

    def positive(self, a: Tensor) -> Tensor:
        return self._emit("positive", (a,), a.shape)

    def exp(self, a: Tensor) -> Tensor:
        return self._emit("exp", (a,), a.shape)

    def log(self, a: Tensor) -> Tensor:
        return self._emit("log", (a,), a.shape)

    def sqrt(self, a: Tensor) -> Tensor:
        return self._emit("sqrt", (a,), a.shape)

    def number(self, a: Tensor) -> Tensor:
        return self._emit("number", (a,), a.shape)

    # ---- products, sums, shapes ----

    def matmul(self, a: Tensor, b: Tensor, *, turn_a: bool = False, turn_b: bool = False) -> Tensor:
        """Of matrices, or of stacks of them."""
        rows, inner = a.shape[-2:][::-1] if turn_a else a.shape[-2:]
        also, columns = b.shape[-2:][::-1] if turn_b else b.shape[-2:]
        if inner != also:
            raise ValueError(f"no product of {a.shape} and {b.shape}, turned {turn_a, turn_b}")
        shape = (*broadcast(a.shape[:-2], b.shape[:-2]), rows, columns)
        return self._emit("matmul", (a, b), shape, turned=(turn_a, turn_b))

    def sum(self, a: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        return self._reduce("sum", a, axes, keep)

    def max(self, a: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        return self._reduce("max", a, axes, keep)

    def sum_of_squares(self, a: Tensor) -> Tensor:
        """Over all of it, ()."""
        return self._reduce("sum_of_squares", a, range(len(a.shape)), keep=False)

    def reshape(self, a: Tensor, shape: Sequence[int]) -> Tensor:
        if elements(a.shape) != elements(shape):
            raise ValueError(f"{a.shape} cannot be seen as {tuple(shape)}")
        return a if a.shape == tuple(shape) else self._emit("reshape", (a,), tuple(shape))

    def transpose(self, a: Tensor, order: Sequence[int]) -> Tensor:
        return self._emit("transpose", (a,), tuple(a.shape[axis] for axis in order), axes=tuple(order))

    def gather(self, a: Tensor, rows: np.ndarray, axis: int = 0) -> Tensor:
        """Rows of `a` along an axis, by an array of their numbers that takes the axis's place."""
        numbers = np.ascontiguousarray(rows, dtype=np.int32)
        shape = (*a.shape[:axis], *numbers.shape, *a.shape[axis + 1 :])
        return self._emit("gather", (a, self.constant(numbers)), shape, axes=(axis,))

    def with_zero_row(self, a: Tensor) -> Tensor:
        """One row of zeros more, after the others, along the first axis."""
        return self._emit("with_zero_row", (a,), (a.shape[0] + 1, *a.shape[1:]))

    def split(self, a: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Equal parts along the first axis."""
        node = Node("split", (a,), tuple(self._new((a.shape[0] // parts, *a.shape[1:])) for _ in range(parts)), (0,))
        self.nodes.append(node)
        return node.outputs

    def _pair(self, kind: Kind, a: Tensor, b: Tensor | float) -> Tensor:
        other = b if isinstance(b, Tensor) else self.constant(float(b))
        return self._emit(kind, (a, other), broadcast(a.shape, other.shape))

    def _reduce(self, kind: Kind, a: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
        shape = tuple(1 if i in axes else d for i, d in enumerate(a.shape) if keep or i not in axes)
        return self._emit(kind, (a,), shape, axes=tuple(axes), keep=keep)

    def _emit(
        self,
        kind: Kind,
        inputs: tuple[Tensor, ...],
        shape: Shape,
        *,
        axes: tuple[int, ...] = (),
        keep: bool = False,
        turned: tuple[bool, bool] = (False, False),
    ) -> Tensor:
        out = self._new(shape, inputs[0].dtype if kind in MOVES else "float32")
        self.nodes.append(Node(kind, inputs, (out,), axes, keep, turned))
        return out

    def _new(self, shape: Shape, dtype: str = "float32") -> Tensor:
        self._made += 1
        return Tensor(f"t{self._made}", shape, dtype)


def elements(shape: Sequence[int]) -> int:
    """How many; as a dimension, so negative where they grow with the batch."""
    if sum(d < 0 for d in shape) > 1:
        raise ValueError(f"{tuple(shape)} grows with the square of the batch")
    return math.prod(shape)


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape of both together, as NumPy has it."""
    n = max(len(a), len(b))
    a, b = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
    if any(p != q and 1 not in (p, q) for p, q in zip(a, b, strict=True)):
        raise ValueError(f"{a} and {b} do not go together")
    return tuple(q if p == 1 else p for p, q in zip(a, b, strict=True))
