"""The wire contract: every message between server and device, as tagged, versioned, frozen structs in MessagePack.

A tag is "Name/version". A receiver that meets an unknown tag or field, or a number that is not finite, refuses the
message with `ProtocolError`, it never guesses. Units are SI and stand in the names; None means "not known", never zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from edge_client.protocol.errors import ProtocolError

VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of messages."""


class Message(Value, frozen=True, kw_only=True, tag=lambda name: f"{name}/{VERSION}", tag_field="type"):
    """Something sent on its own."""


# ---- parts -------------------------------------------------------------------------------------------------------


class BlobRef(Value, frozen=True, kw_only=True):
    """A large payload, named by the SHA-256 of its bytes; sent as `Chunk`s of `chunk_bytes` (the last is shorter)."""

    digest: Digest
    size_bytes: Count
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1)]


class NetworkSpec(Value, frozen=True, kw_only=True):
    """Which network is trained: a name that `models` knows, the image shape (H, W, C) and the number of classes."""

    name: str
    image_shape: tuple[int, int, int]
    n_classes: Annotated[int, msgspec.Meta(ge=2)]


class EnergyReading(Value, frozen=True, kw_only=True):
    """Joules over a window of `duration_s`.

    `energy_j` is what the meter saw at its `boundary`, None where nothing could be measured; `idle_power_w` the floor
    at the same boundary (None: unknown), so that added joules are energy_j - idle_power_w * duration_s.
    `uncertainty` is relative (0.05: five per cent); `missed_samples` counts polls that came late or failed.
    """

    energy_j: float | None
    duration_s: NonNegative
    idle_power_w: float | None
    source: Literal["measured", "modelled", "unavailable"]
    boundary: Literal["board", "soc", "cpu_package", "wall"] | None
    meter: str
    uncertainty: float | None
    samples: Count
    missed_samples: Count = 0

    @property
    def added_j(self) -> float | None:
        """Joules above the idle floor; None where either is unknown."""
        if self.energy_j is None or self.idle_power_w is None:
            return None
        return self.energy_j - self.idle_power_w * self.duration_s


class Segment(Value, frozen=True, kw_only=True):
    """Train `samples` (counted with repetitions) at `freq_hz`; None leaves the clock alone."""

    freq_hz: Positive | None
    samples: Count


class SegmentOutcome(Value, frozen=True, kw_only=True):
    """What became of a segment: the clock as requested, as accepted by the kernel, as verified by independent means.

    `verified_hz` is None where nothing independent could be read. `starved` is True where the trainer was runnable but
    got less than 95 % of the processor (None: unknown); such windows are left out of fits.
    """

    requested_hz: float | None
    accepted_hz: float | None
    verified_hz: float | None
    violation_s: NonNegative
    samples: Count
    duration_s: NonNegative
    energy: EnergyReading
    starved: bool | None
    throttled: bool | None


class RadioOutcome(Value, frozen=True, kw_only=True):
    """The transmit power as requested and accepted, and what this radio can do."""

    requested_w: float | None
    accepted_w: float | None
    capability: Literal["enforced", "accepted_unverified", "unsupported"]


class UploadOutcome(Value, frozen=True, kw_only=True):
    """The upload of the weights: payload bits as sent, seconds from first byte to the server's acknowledgement."""

    bits: Count
    duration_s: NonNegative
    energy: EnergyReading
    radio: RadioOutcome


class OppPoint(Value, frozen=True, kw_only=True):
    """One operating point measured with the real training step; joules of the meter's whole boundary."""

    freq_hz: Positive
    verified_hz: float | None
    s_per_sample: Positive
    j_per_sample: float | None
    samples: Annotated[int, msgspec.Meta(ge=1)]
    duration_s: Positive
    uncertainty: float | None
    starved: bool | None = None


class Capabilities(Value, frozen=True, kw_only=True):
    """What a board can do, as read on the board."""

    board: str
    opps_hz: tuple[float, ...]
    meter: str
    meter_source: Literal["measured", "modelled", "unavailable"]
    boundary: Literal["board", "soc", "cpu_package", "wall"] | None
    tx_power: Literal["enforced", "accepted_unverified", "unsupported"]
    runtimes: tuple[str, ...]
    cores: Annotated[int, msgspec.Meta(ge=1)]


# ---- server to devices -------------------------------------------------------------------------------------------


class ServerHello(Message, frozen=True, kw_only=True):
    """Retained on the server's topic: a fleet has a server. Devices answer with `Join`."""

    server_id: str
    run: Name
    network: NetworkSpec


class ProfileRequest(Message, frozen=True, kw_only=True):
    """Measure seconds and joules per sample with the real training step at each of `freqs_hz`.

    Each window lasts about `window_s` after `settle_s`; an idle window of `window_s` comes first.
    """

    run: Name
    network: NetworkSpec
    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    freqs_hz: tuple[Positive, ...]
    window_s: Positive
    settle_s: NonNegative


class Task(Message, frozen=True, kw_only=True):
    """One round's work for one device.

    `model` is the broadcast global model, `shard` the synthetic samples of this device (None: none). Segments' samples
    sum to local_epochs * (local + synthetic samples), in the order they are trained. `deadline_s` counts from receipt:
    past it the device drops the task and reports its joules. `lease_s`: the board's own settings come back once the
    broker has been out of reach for so long.
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


class Bye(Message, frozen=True, kw_only=True):
    """The run is over; devices restore themselves and wait for the next hello."""

    run: Name
    reason: str


# ---- devices to server -------------------------------------------------------------------------------------------


class Join(Message, frozen=True, kw_only=True):
    """A device offers itself: its label histogram (n_classes,) and what it can do. No sample ever leaves it."""

    device: Name
    run: Name
    label_counts: tuple[Count, ...]
    storage_samples: Count
    capabilities: Capabilities
    client_version: str


class ProfileReport(Message, frozen=True, kw_only=True):
    """The answer to `ProfileRequest`: idle power at the meter's boundary and one point per frequency."""

    device: Name
    run: Name
    idle: EnergyReading
    points: tuple[OppPoint, ...]
    temperature_c: float | None = None


class Heartbeat(Message, frozen=True, kw_only=True):
    """Every few seconds, during training too."""

    device: Name
    state: str
    round: Count | None
    samples_done: Count
    power_w: float | None
    freq_hz: float | None


class Update(Message, frozen=True, kw_only=True):
    """A device's result: `weights` is the blob it has just sent (the change of the weights, see weights.py)."""

    device: Name
    run: Name
    round: Count
    weights: BlobRef
    samples: Count
    train_loss: float
    segments: tuple[SegmentOutcome, ...]
    compute: EnergyReading
    upload: UploadOutcome


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
    ServerHello | ProfileRequest | Task | Abort | UpdateAck | Bye
    | Join | ProfileReport | Heartbeat | Update | TaskClosed | Refusal
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
    if odd := next(_not_finite(message, type(message).__name__), None):
        raise ProtocolError(f"{odd}; every number in a message must be finite")
    return message


def _not_finite(value: object, path: str) -> Iterator[str]:
    """What in a message is not finite: "<path> is <value>"."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}"
    elif isinstance(value, Value):
        for name in value.__struct_fields__:
            yield from _not_finite(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{path}[{index}]")
