"""What messages are made of: readings, segments, abilities, and the kinds of numbers and names that stand in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from edge_client.protocol.errors import ProtocolError

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


Limit = Literal["under_voltage", "capped", "throttled", "soft_limit", "cooling"]
"""What holds a clock down: too little voltage, the firmware's cap, its throttling, its soft temperature limit, or the
kernel's cooling."""

ClockFinding = Literal["refused", "not_accepted", "not_applied", "floor", "cap", "boost", "too_fast", "too_slow"]
"""How a board failed a clock it was asked for. `refused`: a write was; `not_accepted`: the kernel shows another clock.
The others are of a clock that the kernel shows as asked for, and that is not in force: `not_applied`: it is the same
whatever is asked for; `floor`, `cap`: the same for every request below or above it; `boost`: above each request;
`too_fast`, `too_slow`: not known any better."""

VerifiedBy = Literal["firmware", "work", "driver"]
"""Who says at which clock a board really ran: its firmware's counter, the time that known work took, or the driver that
set it (which tells the least)."""

SHORT_WINDOW_S = 30.0
"""A shorter window says little: edges, steps of the meter and the first warm-up weigh too much."""


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of messages."""


class BlobRef(Value, frozen=True, kw_only=True):
    """A large payload, named by the SHA-256 of its bytes; sent as `Chunk`s of `chunk_bytes` (the last is shorter)."""

    digest: Digest
    size_bytes: Count
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1)]


class GraphOffer(Value, frozen=True, kw_only=True):
    """The graphs of a run's training for one `runtime` (see graphs.py): a device that trains with it and does not keep
    them asks for them (`BlobProgress`)."""

    runtime: Literal["onnx", "tflite", "numpy"]
    graphs: BlobRef


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

    @property
    def idle_j(self) -> float | None:
        """Joules that the board would have drawn doing nothing; None where its floor is unknown."""
        return None if self.idle_power_w is None else self.idle_power_w * self.duration_s

    @property
    def added_uncertainty(self) -> float | None:
        """Relative uncertainty of `added_j`: that of all joules falls on the part above the floor."""
        added_j = self.added_j
        if self.uncertainty is None or self.energy_j is None or added_j is None or added_j <= 0:
            return None
        return self.uncertainty * self.energy_j / added_j

    @property
    def short_window(self) -> bool:
        """Whether the window is too short to rely on its joules alone (under `SHORT_WINDOW_S`)."""
        return self.duration_s < SHORT_WINDOW_S


class Segment(Value, frozen=True, kw_only=True):
    """Train `samples` (counted with repetitions) at `freq_hz`; None leaves the clock alone."""

    freq_hz: Positive | None
    samples: Count


class SegmentOutcome(Value, frozen=True, kw_only=True):
    """What became of a segment: the clock as requested, as accepted by the kernel, as verified by independent means.

    `verified_hz` is None where nothing independent could be read, and where work alone speaks against the board for the
    first time: one timing may be the host's. `starved` is True where the trainer was runnable but
    got less than 95 % of the processor (None: unknown); such windows are left out of fits. `finding` says how the board
    failed the request (None: it did not, as far as can be told), `limits` what held its clock down at any time.
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
    verified_by: VerifiedBy | None = None
    finding: ClockFinding | None = None
    limits: tuple[Limit, ...] = ()


class RadioOutcome(Value, frozen=True, kw_only=True):
    """The transmit power as requested and accepted, what this radio can do, and how its link was after the upload.

    `signal_dbm` is the access point's signal at the board, `link_bits_per_s` the card's own rate, `interface_bytes`
    what everybody sent over it meanwhile (more than the update: retransmissions, other programs), `airtime_s` the
    seconds that the update alone takes at the card's rate. None: not known.

    `requested_bits_per_s` is the upload's rate as the task asked for it (None: as fast as it goes), `share` what kept
    it: the client's own pacing (`paced`), or that and a class of the kernel's (`htb`), of which `accepted_bits_per_s`
    is the rate as it is read back and `verified_bits_per_s` what it let out over the upload's seconds, both with all
    headers and thus above the payload's. None: there was no class, or it did not count these packets.
    """

    requested_w: float | None
    accepted_w: float | None
    capability: Literal["enforced", "accepted_unverified", "unsupported"]
    signal_dbm: float | None = None
    link_bits_per_s: float | None = None
    interface_bytes: Count | None = None
    airtime_s: NonNegative | None = None
    share: Literal["none", "paced", "htb"] = "none"
    requested_bits_per_s: Positive | None = None
    accepted_bits_per_s: Positive | None = None
    verified_bits_per_s: NonNegative | None = None


class UploadOutcome(Value, frozen=True, kw_only=True):
    """The upload of the weights: bits of its chunks' packets as sent (the ones sent again counted), seconds from
    first byte to the server's acknowledgement."""

    bits: Count
    duration_s: NonNegative
    energy: EnergyReading
    radio: RadioOutcome


class OppPoint(Value, frozen=True, kw_only=True):
    """One operating point measured with the real training step; joules of the meter's whole boundary.

    `freq_hz` is the clock that was asked for, None where none was: the board ran at its own.
    """

    freq_hz: Positive | None
    verified_hz: float | None
    s_per_sample: Positive
    j_per_sample: float | None
    samples: Annotated[int, msgspec.Meta(ge=1)]
    duration_s: Positive
    uncertainty: float | None
    starved: bool | None = None
    verified_by: VerifiedBy | None = None
    finding: ClockFinding | None = None
    limits: tuple[Limit, ...] = ()


class RuntimeTrial(Value, frozen=True, kw_only=True):
    """What a sample took with one of the training runtimes of a board, at the same clock as with the others; joules of
    the meter's whole boundary, with their relative uncertainty; None where nothing measures. `problem`: why it did not
    train at all."""

    runtime: str
    s_per_sample: Positive | None
    j_per_sample: float | None
    samples: Count
    duration_s: NonNegative
    uncertainty: float | None = None
    problem: str = ""


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


def finite(value: Value) -> None:
    """Raise `ProtocolError` unless every number in a message, or a part of one, is finite."""
    if odd := next(_not_finite(value, type(value).__name__), None):
        raise ProtocolError(f"{odd}; every number in a message must be finite")


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
