"""The runtime "numpy": a program done operation by operation. Needs nothing that a base install lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_client.errors import TrainingError
from edge_client.protocol.graphs import Instruction, Program

SIMPLE: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "exp": np.exp, "log": np.log, "sqrt": np.sqrt,
}  # fmt: skip


def run(program: Program, given: Mapping[str, np.ndarray], dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Inputs by name -> outputs by name; floats are `dtype` throughout.

    Raises TrainingError for an input that is missing or an operation that is not known.
    """
    lacking = program.inputs.keys() - given.keys()
    if lacking:
        raise TrainingError(f"the program wants {', '.join(sorted(lacking))}")

    def own(array: np.ndarray) -> np.ndarray:
        return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array

    known = {number: own(np.asarray(given[name])) for name, number in program.inputs.items()}
    for number, held in program.constants.items():
        known[number] = own(np.frombuffer(held.data, held.dtype).reshape(held.shape))
    batch = len(given["images"]) if "images" in program.inputs else 1
    last = {number: at for at, one in enumerate(program.instructions) for number in one.inputs}
    kept = set(program.outputs.values())
    for at, one in enumerate(program.instructions):
        results = _done(one, [known[number] for number in one.inputs], batch, dtype)
        known.update(zip(one.outputs, results, strict=True))
        for number in set(one.inputs):
            if last[number] == at and number not in kept:
                del known[number]  # memory is what a board has least of
    return {name: known[number] for name, number in program.outputs.items()}


def _done(one: Instruction, x: list[np.ndarray], batch: int, dtype: type) -> list[np.ndarray]:
    if one.kind in SIMPLE:
        return [SIMPLE[one.kind](*x)]
    match one.kind:
        case "relu":
            return [np.maximum(x[0], 0)]
        case "positive":
            return [(x[0] > 0).astype(dtype)]
        case "reached":
            return [(x[0] >= x[1]).astype(dtype)]
        case "same":
            return [(x[0] == x[1]).astype(dtype)]
        case "number":
            return [x[0].astype(dtype)]
        case "matmul":
            a, b = (own.swapaxes(-1, -2) if turn else own for own, turn in zip(x, one.turned, strict=True))
            return [a @ b]
        case "sum":
            return [x[0].sum(axis=one.axes, keepdims=one.keep)]
        case "max":
            return [x[0].max(axis=one.axes, keepdims=one.keep)]
        case "sum_of_squares":
            return [np.square(x[0]).sum()]
        case "reshape":
            return [x[0].reshape([-d * batch if d < 0 else d for d in one.sizes])]
        case "transpose":
            return [x[0].transpose(one.axes)]
        case "gather":
            return [np.take(x[0], x[1], axis=one.axes[0])]
        case "with_zero_row":
            return [np.concatenate([x[0], np.zeros_like(x[0][:1])])]
        case "split":
            return np.split(x[0], len(one.outputs))
    raise TrainingError(f"the program's operation {one.kind!r} is not known to this client: bring it up to date")
