"""What an agent may ask of the privileged helper, and nothing else: one JSON object a packet, each answered by one.

Whoever may connect may hold the board's clock and transmit power within the limits that its owner has set, hold its own
connection to a rate, and read the energy counters of its processors. No path, command or number goes further than that.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edge_client.errors import HardwareError

PACKET_BYTES = 4096
"""No packet is larger."""

COUNTER = r"^sys/class/powercap/intel-rapl[-a-z]*(:\d+){1,3}/energy_uj\Z"
"""The only files that are opened for an agent: RAPL's counters, which only root may read since 2020."""

Cpu = Annotated[int, Meta(ge=0, le=4095)]
Interface = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")]


class _Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="ask"):
    """Unknown fields are refused."""


class HoldClock(_Request, frozen=True, kw_only=True, tag="hold_clock"):
    """Pin the policies of `cpus` (None: all) to their points nearest to `freq_hz`, in place of what was held before."""

    freq_hz: Annotated[float, Meta(gt=0, lt=1e11)]
    cpus: Annotated[tuple[Cpu, ...], Meta(max_length=4096)] | None = None


class HoldTxPower(_Request, frozen=True, kw_only=True, tag="hold_tx_power"):
    """Set a Wi-Fi card's transmit power; the answer's `value` is what the driver then reads back, in watts."""

    interface: Interface
    power_w: Annotated[float, Meta(gt=0, le=10)]


class HoldShare(_Request, frozen=True, kw_only=True, tag="hold_share"):
    """Hold what is marked to an upload's rate on an interface whose queue is the kernel's own; the answer's `value` is
    the class's rate as it is read back, headers counted, in bit/s."""

    interface: Interface
    bits_per_s: Annotated[float, Meta(ge=1, le=1e11)]


class MarkSocket(_Request, frozen=True, kw_only=True, tag="mark_socket"):
    """Mark the TCP socket whose descriptor comes along (SCM_RIGHTS), or unmark it; it is not kept."""

    on: bool


class ReleaseShare(_Request, frozen=True, kw_only=True, tag="release_share"):
    """Put the interface's own queue back."""


class ReleaseClock(_Request, frozen=True, kw_only=True, tag="release_clock"):
    """Put the clock back."""


class ReleaseTxPower(_Request, frozen=True, kw_only=True, tag="release_tx_power"):
    """Put the transmit power back."""


class OpenCounter(_Request, frozen=True, kw_only=True, tag="open_counter"):
    """Open an energy counter for reading; its descriptor comes with the answer (SCM_RIGHTS)."""

    path: Annotated[str, Meta(pattern=COUNTER, max_length=200)]


class Restore(_Request, frozen=True, kw_only=True, tag="restore"):
    """Put back everything, also what a helper that was killed had left."""


Request = (
    HoldClock | HoldTxPower | HoldShare | MarkSocket | ReleaseClock | ReleaseTxPower | ReleaseShare
    | OpenCounter | Restore
)  # fmt: skip


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`problem`: why it was not done (None: it was); `value`: see the request."""

    problem: str | None = None
    value: float | None = None


_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers = msgspec.json.Decoder(Answer)


def read_request(packet: bytes) -> Request:
    """A request; raises HardwareError for anything else."""
    try:
        return _requests.decode(packet)
    except msgspec.MsgspecError as error:
        raise HardwareError(f"not in the helper's vocabulary: {error}") from error


def read_answer(packet: bytes) -> Answer:
    """An answer; raises HardwareError for anything else."""
    try:
        return _answers.decode(packet)
    except msgspec.MsgspecError as error:
        raise HardwareError(f"not an answer of the helper: {error}") from error
