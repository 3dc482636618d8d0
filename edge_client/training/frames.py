"""What agent and training worker say to each other: MessagePack structs, each after its length (4 bytes, big-endian).

A pipe and nothing shared: a worker that is stopped in the middle of anything holds no lock of the agent's.
"""

from __future__ import annotations

import struct

import msgspec

from edge_client.protocol.messages import NetworkSpec
from edge_client.training.trainer import Hyper

HEADER = struct.Struct(">I")


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One message over the pipe."""


# ---- to the worker -----------------------------------------------------------------------------------------------


class Begin(Frame, frozen=True, kw_only=True):
    """Build the network and read the device's samples; answer Ok.

    `cpus`: those to stay on (None: any); `samples`: the folder where synthetic samples are kept (see store.py);
    `graphs`: the file of the bundle, for runtimes that need one; `bfloat16`: products in it (torch alone);
    `memory_bytes`: what this process may hold, batches are split to fit (None: whole batches).
    """

    network: NetworkSpec
    runtime: str
    threads: int
    data: str
    cpus: tuple[int, ...] | None = None
    samples: str = ""
    graphs: str | None = None
    bfloat16: bool = False
    memory_bytes: int | None = None


class SetShard(Frame, frozen=True, kw_only=True):
    """Hold the kept synthetic samples of this list (packed, see protocol.shards) beside the local ones; None: hold
    none. Answer Ok; a Problem where what is kept is not exactly what the list means."""

    listing: bytes | None


class Load(Frame, frozen=True, kw_only=True):
    """Start from the weights in this file (safetensors) with zero momentum; None: from the network's own. Answer Ok."""

    model: str | None


class Train(Frame, frozen=True, kw_only=True):
    """Train these batches, each int32 indices as bytes; `Progress` after each, `Done` at the end.

    With `for_s` the batches repeat until `for_s` seconds have passed and `min_batches` are done.
    """

    batches: tuple[bytes, ...]
    learning_rate: float
    momentum: float
    weight_decay: float
    clip_norm: float | None
    prox: float = 0.0
    for_s: float | None = None
    min_batches: int = 0

    @property
    def hyper(self) -> Hyper:
        return Hyper(self.learning_rate, self.momentum, self.weight_decay, self.clip_norm, self.prox)


class Evaluate(Frame, frozen=True, kw_only=True):
    """How good are the present weights on the device's own samples? Answer Evaluated."""


class Halt(Frame, frozen=True, kw_only=True):
    """End the training under way after its present batch; without one, nothing."""


class GetChange(Frame, frozen=True, kw_only=True):
    """How far are the weights from those that were loaded? Answer ChangeIs."""


# ---- from the worker ---------------------------------------------------------------------------------------------


class Ok(Frame, frozen=True, kw_only=True):
    """Done as told; the worker now holds so many `samples`, local and synthetic."""

    samples: int


class Progress(Frame, frozen=True, kw_only=True):
    """A batch of `samples` with mean `loss` ended at `t` (monotonic seconds)."""

    samples: int
    loss: float
    t: float


class Done(Frame, frozen=True, kw_only=True):
    """The training ended at `t`, having begun at `started`."""

    started: float
    t: float
    halted: bool


class Evaluated(Frame, frozen=True, kw_only=True):
    """The share of the samples that were told right, and their mean loss."""

    samples: int
    accuracy: float
    loss: float


class ChangeIs(Frame, frozen=True, kw_only=True):
    """The change of the weights as float16 safetensors."""

    change: bytes


class Problem(Frame, frozen=True, kw_only=True):
    """It could not be done; the worker is as it was before."""

    reason: str


ToWorker = Begin | SetShard | Load | Train | Evaluate | Halt | GetChange
FromWorker = Ok | Progress | Done | Evaluated | ChangeIs | Problem

_encoder = msgspec.msgpack.Encoder()
_to_worker = msgspec.msgpack.Decoder(ToWorker)
_from_worker = msgspec.msgpack.Decoder(FromWorker)


def parts(frame: ToWorker | FromWorker) -> tuple[bytes, bytes]:
    """Length and body, to be written one after the other: joined, a large one would be there twice."""
    body = _encoder.encode(frame)
    return HEADER.pack(len(body)), body


def read_command(body: bytes) -> ToWorker:
    return _to_worker.decode(body)


def read_answer(body: bytes) -> FromWorker:
    return _from_worker.decode(body)
