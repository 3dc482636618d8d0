"""The wire contract: every message between server and device, as tagged, versioned, frozen structs in MessagePack.

A tag is "Name/version". A receiver that meets an unknown tag or field, or a number that is not finite, refuses the
message with `ProtocolError`, it never guesses. Units are SI and stand in the names; None means "not known", never zero.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edge_client.protocol.calibrations import Calibration
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.values import (
    BlobRef,
    Capabilities,
    Count,
    Digest,
    EnergyReading,
    GraphOffer,
    Name,
    NetworkSpec,
    NonNegative,
    OppPoint,
    Positive,
    RadioOutcome,
    RuntimeTrial,
    Segment,
    SegmentOutcome,
    UploadOutcome,
    Value,
    finite,
)

__all__ = [
    "VERSION", "Abort", "AnyMessage", "BlobProgress", "BlobRef", "Bye", "Calibration", "Capabilities", "Chunk",
    "EnergyReading", "GraphOffer", "Heartbeat", "Join", "Message", "Name", "NetworkSpec", "OppPoint", "ProfileReport",
    "ProfileRequest", "RadioOutcome", "Refusal", "RuntimeTrial", "Segment", "SegmentOutcome", "ServerHello",
    "ShardNeeds", "ShardPart", "Task", "TaskClosed", "Update", "UpdateAck", "UploadOutcome", "decode", "encode",
]  # fmt: skip

VERSION = 1


class Message(
    Value, frozen=True, kw_only=True, omit_defaults=True, tag=lambda name: f"{name}/{VERSION}", tag_field="type"
):
    """Something sent on its own. A field that has its default stays out: who does not know it yet does not meet it."""


# ---- server to devices -------------------------------------------------------------------------------------------


class ServerHello(Message, frozen=True, kw_only=True):
    """Retained on the server's topic: a fleet has a server. Devices answer with `Join`."""

    server_id: str
    run: Name
    network: NetworkSpec


class ProfileRequest(Message, frozen=True, kw_only=True):
    """Measure seconds and joules per sample with the real training step at each of `freqs_hz`.

    Each window lasts about `window_s` after `settle_s`; an idle window of `window_s` comes first. Where `freqs_hz` is
    empty the device trains once, at whatever clock the board runs. A device that may choose between several training
    runtimes times each of them first, with its `graphs`, and measures with the best.
    """

    run: Name
    network: NetworkSpec
    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    freqs_hz: tuple[Positive, ...]
    window_s: Positive
    settle_s: NonNegative
    graphs: tuple[GraphOffer, ...] = ()


class Task(Message, frozen=True, kw_only=True):
    """One round's work for one device.

    `model` is the broadcast global model, `shard` the list of this device's synthetic samples (shards.py; None: it gets
    none): the device says which of them it lacks (`ShardNeeds`), and trains once it has exactly these. Samples of
    segments sum to local_epochs * (local + synthetic samples), in the order they are trained. `deadline_s` counts from
    receipt: past it the device drops the task and reports its joules. `upload_bits_per_s` is the rate of the update's
    packets as MQTT sends them, envelopes included (None: as fast as they go). `lease_s`: the board's own settings come
    back once the broker has been out of reach for so long. `prox` is the weight of FedProx's pull towards the global
    model (0: none); `evaluate` asks how good the global model is on the device's own samples, before it trains.
    """

    run: Name
    round: Count
    network: NetworkSpec
    model: BlobRef
    shard: BlobRef | None
    local_epochs: Annotated[int, msgspec.Meta(ge=1)]
    local_samples: Count
    synth_samples: Count
    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    learning_rate: Positive
    momentum: NonNegative
    weight_decay: NonNegative
    clip_norm: Positive | None
    seed: Count
    segments: tuple[Segment, ...]
    tx_power_w: Positive | None
    upload_bits_per_s: Positive | None
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1)]
    deadline_s: Positive
    lease_s: Positive
    prox: NonNegative = 0.0
    graphs: tuple[GraphOffer, ...] = ()
    evaluate: bool = False


class Abort(Message, frozen=True, kw_only=True):
    """Drop the task of this round (the quorum is complete, or the run ends) and report its joules."""

    run: Name
    round: Count
    reason: str


class UpdateAck(Message, frozen=True, kw_only=True):
    """The server's verdict on an `Update`; the task's energy window ends here."""

    run: Name
    round: Count
    status: Literal["accepted", "late", "duplicate", "rejected"]
    reason: str = ""


class ShardPart(Message, frozen=True, kw_only=True):
    """The answer to `ShardNeeds`: `part` holds the `samples` that were lacking, in their order, as one blob. Its chunks
    are sent once the device has said which of them it has (`BlobProgress`), for an interrupted part goes on."""

    run: Name
    round: Count
    shard: Digest
    samples: Count
    part: BlobRef


class Bye(Message, frozen=True, kw_only=True):
    """The run is over; devices restore themselves and wait for the next hello."""

    run: Name
    reason: str


# ---- devices to server -------------------------------------------------------------------------------------------


class Join(Message, frozen=True, kw_only=True):
    """A device offers itself: its label histogram (n_classes,) and what it can do. No sample ever leaves it.

    `calibration` is what a sweep of this very board measured before, where there was one.
    """

    device: Name
    run: Name
    label_counts: tuple[Count, ...]
    storage_samples: Count
    capabilities: Capabilities
    client_version: str
    calibration: Calibration | None = None


class ProfileReport(Message, frozen=True, kw_only=True):
    """The answer to `ProfileRequest`: idle power at the meter's boundary and one point per frequency; of an empty list
    the one at the board's own clock. `runtime` is what trained; `trials` are the runtimes it was chosen from, where
    there was a choice."""

    device: Name
    run: Name
    idle: EnergyReading
    points: tuple[OppPoint, ...]
    temperature_c: float | None = None
    runtime: str | None = None
    trials: tuple[RuntimeTrial, ...] = ()


class ShardNeeds(Message, frozen=True, kw_only=True):
    """Which samples of the list `shard` the device lacks: bits, the first sample in the highest bit of the first byte.
    Said for each task with a shard, also where nothing lacks, and again while no `ShardPart` answers."""

    device: Name
    run: Name
    round: Count
    shard: Digest
    lacking: bytes


class Heartbeat(Message, frozen=True, kw_only=True):
    """Every few seconds, during training too."""

    device: Name
    state: str
    round: Count | None
    samples_done: Count
    power_w: float | None
    freq_hz: float | None


class Update(Message, frozen=True, kw_only=True):
    """A device's result: `weights` is the blob it has just sent (the change of the weights, see weights.py).

    `local_accuracy` and `local_loss` are of the global model on the device's own samples, where the task asks for it.
    """

    device: Name
    run: Name
    round: Count
    weights: BlobRef
    samples: Count
    train_loss: float
    segments: tuple[SegmentOutcome, ...]
    compute: EnergyReading
    upload: UploadOutcome
    local_accuracy: float | None = None
    local_loss: float | None = None


class TaskClosed(Message, frozen=True, kw_only=True):
    """The last word on a task, whatever became of it: joules from its receipt to its end, bytes both ways."""

    device: Name
    run: Name
    round: Count
    outcome: Literal["done", "late", "rejected", "aborted", "deadline", "failed"]
    reason: str
    energy: EnergyReading
    samples_trained: Count
    bytes_sent: Count
    bytes_received: Count


class Refusal(Message, frozen=True, kw_only=True):
    """A device cannot do what it was asked, and why, in a sentence."""

    device: Name
    run: Name
    round: Count | None
    reason: str


# ---- both ways ---------------------------------------------------------------------------------------------------


class Chunk(Message, frozen=True, kw_only=True):
    """Part `index` of `count` of the blob `digest`."""

    digest: Digest
    index: Count
    count: Annotated[int, msgspec.Meta(ge=1)]
    data: bytes


class BlobProgress(Message, frozen=True, kw_only=True):
    """A receiver's word to the sender: it has `received` chunks; `missing` (at most 64) it asks for again.

    `complete` means: all there and the digest agrees. `sender` is the device that speaks, or "server".
    """

    sender: str
    digest: Digest
    received: Count
    missing: tuple[Count, ...] = ()
    complete: bool = False


AnyMessage = (
    ServerHello | ProfileRequest | Task | Abort | UpdateAck | ShardPart | Bye
    | Join | ProfileReport | ShardNeeds | Heartbeat | Update | TaskClosed | Refusal
    | Chunk | BlobProgress
)  # fmt: skip

_decoder = msgspec.msgpack.Decoder(AnyMessage)
_encoder = msgspec.msgpack.Encoder()


def encode(message: AnyMessage) -> bytes:
    """A message as MessagePack."""
    return _encoder.encode(message)


def decode(payload: bytes | bytearray | memoryview) -> AnyMessage:
    """MessagePack back into a message; raises `ProtocolError` that names what does not fit.

    No number may be nan or infinite: JSON, in which both sides keep what they hear, has neither, and a comparison with
    nan lets it through every bound.
    """
    try:
        message = _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"not a message of protocol version {VERSION}: {error}") from error
    finite(message)
    return message
