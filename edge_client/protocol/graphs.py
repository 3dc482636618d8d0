"""A network's training as graphs for one runtime: what a board needs to train without PyTorch. Pure.

A bundle has up to four parts: `step`, a step of SGD; `gradient` and `apply`, the same in two for batches that memory
does not hold; `evaluate`. What they take and give by which names, `server/export/step.py` says. A bundle is named by
the SHA-256 of its bytes: the task names it, the device keeps it. The runtime "numpy" has a form of its own, `Program`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import numpy as np

from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.values import NetworkSpec, Value

FORMAT = 1
MAX_BYTES = 64 << 20
"""Unpacked bytes beyond which a bundle is refused, so that a small message cannot fill a board's memory."""

Runtime = Literal["onnx", "tflite", "numpy"]
RUNTIMES: tuple[Runtime, ...] = ("onnx", "tflite", "numpy")


class Layout(Value, frozen=True, kw_only=True):
    """A weight of the network and how graphs have it: its axes in `order`, and a filter's two sides as one axis."""

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...]

    def to_graph(self, array: np.ndarray) -> np.ndarray:
        """As the network has it -> as graphs do, contiguous."""
        turned = array.transpose(self.order)
        return np.ascontiguousarray(turned.reshape(self.graph_shape), dtype=np.float32)

    def from_graph(self, array: np.ndarray) -> np.ndarray:
        """The other way; a copy."""
        turned = array.reshape([self.shape[axis] for axis in self.order])
        return np.array(turned.transpose(np.argsort(self.order)), dtype=np.float32, order="C")

    @property
    def graph_shape(self) -> tuple[int, ...]:
        turned = tuple(self.shape[axis] for axis in self.order)
        return (turned[0] * turned[1], *turned[2:]) if len(turned) == 4 else turned


class Bundle(Value, frozen=True, kw_only=True):
    """`batch`: the one size of batch that its graphs take (None: any). `terms`: what of SGD they have, of clip_norm,
    weight_decay and prox."""

    format: int
    runtime: Runtime
    network: NetworkSpec
    batch: Annotated[int, msgspec.Meta(ge=1)] | None
    terms: tuple[str, ...]
    weights: tuple[Layout, ...]
    parts: dict[str, bytes]


class Instruction(Value, frozen=True, kw_only=True):
    """One operation of a `Program`; values are numbered. `sizes` of a reshape: -k is k times the batch."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    axes: tuple[int, ...] = ()
    keep: bool = False
    turned: tuple[bool, bool] = (False, False)
    sizes: tuple[int, ...] = ()


class Array(Value, frozen=True, kw_only=True):
    """A constant."""

    dtype: Literal["float32", "int32", "int64"]
    shape: tuple[int, ...]
    data: bytes


class Program(Value, frozen=True, kw_only=True):
    """A graph for the runtime "numpy": which value each input, constant and output is."""

    inputs: dict[str, int]
    constants: dict[int, Array]
    instructions: tuple[Instruction, ...]
    outputs: dict[str, int]


_encoder = msgspec.msgpack.Encoder()
_bundle = msgspec.msgpack.Decoder(Bundle)
_program = msgspec.msgpack.Decoder(Program)


def pack(bundle: Bundle) -> bytes:
    """Deflated: tables of numbers, most of it, take a fifth."""
    return zlib.compress(_encoder.encode(bundle), 9)


def unpack(blob: bytes) -> Bundle:
    """Raises ProtocolError for anything else, or a bundle of another format."""
    try:
        inflate = zlib.decompressobj()
        packed = inflate.decompress(blob, MAX_BYTES)
        if inflate.unconsumed_tail or not inflate.eof:
            raise ProtocolError("the bundle of graphs is cut short, or too large")
        bundle = _bundle.decode(packed)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ProtocolError(f"these bytes are no bundle of graphs: {error}") from error
    if bundle.format != FORMAT:
        raise ProtocolError(f"the bundle is of format {bundle.format}, this client reads {FORMAT}: bring it up to date")
    return bundle


def digest(blob: bytes) -> str:
    """What names a bundle."""
    return hashlib.sha256(blob).hexdigest()


def pack_program(program: Program) -> bytes:
    return _encoder.encode(program)


def unpack_program(blob: bytes) -> Program:
    """Raises ProtocolError for anything else."""
    try:
        return _program.decode(blob)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"these bytes are no program: {error}") from error


def check_weights(layouts: Mapping[str, Layout], weights: Mapping[str, np.ndarray]) -> None:
    """Raise ProtocolError unless names and shapes are those of the network that was exported."""
    if layouts.keys() != weights.keys():
        odd = sorted(layouts.keys() ^ weights.keys())
        raise ProtocolError(f"the weights are of another network: {', '.join(odd[:3])} on one side only")
    for name, layout in layouts.items():
        if weights[name].shape != layout.shape:
            raise ProtocolError(f"weight {name} has shape {weights[name].shape}, the network needs {layout.shape}")
