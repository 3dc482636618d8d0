"""What the agent needs of a board, as narrow protocols. Constructors discover and start nothing; a change is a context
that restores on every exit. Unknown is None, never zero."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Boundary = Literal["board", "soc", "cpu_package", "wall"]
TxCapability = Literal["enforced", "accepted_unverified", "unsupported"]


@dataclass(frozen=True)
class MeterInfo:
    """What a meter is: its name, the boundary it sees and how far it may be off, one sigma each.

    `uncertainty` is relative (of scale, 0.02: 2 %), `offset_w` absolute (steps and zero; it weighs most where little is
    drawn), `lag_s` how far its readings may be behind, `period_s` how often it has something new (0: at every poll).
    `source` is "modelled" where nothing is measured at all.
    """

    name: str
    boundary: Boundary
    uncertainty: float
    offset_w: float = 0.0
    lag_s: float = 0.0
    period_s: float = 0.0
    source: Literal["measured", "modelled"] = "measured"


class PowerMeter(Protocol):
    """Reads watts at an instant."""

    info: MeterInfo

    def read_power_w(self) -> float | None:
        """Power now in watts, or None when this read failed."""


@runtime_checkable
class EnergyCounter(Protocol):
    """Reads joules that something else adds up: exact between two polls, however late they come."""

    info: MeterInfo

    def read_energy_j(self) -> float | None:
        """Joules so far, or None when this read failed.

        A value below the one before means: the counter began anew, and what was drawn between both is unknown.
        """


Meter = PowerMeter | EnergyCounter


@runtime_checkable
class Connected(Protocol):
    """A meter that is fed by a connection of its own, which lasts from `open` to `close`."""

    def open(self) -> None:
        """Connect, or keep trying to; reads fail until there is something to read."""

    def close(self) -> None:
        """Let go; safe without `open`."""


@dataclass(frozen=True)
class Missing:
    """Why a meter is not used: "<what is wrong>; <what would be right>". `there`: the board has one all the same."""

    name: str
    reason: str
    there: bool = False


@dataclass(frozen=True)
class ClockReading:
    """The clock in three steps: asked of the kernel, accepted by it, verified by independent means (or None)."""

    requested_hz: float
    accepted_hz: float | None
    verified_hz: float | None


class CpuFreq(Protocol):
    """The processor clock of a board (all cpufreq policies together)."""

    def available_hz(self) -> tuple[float, ...]:
        """The operating points, ascending; empty where the clock cannot be set."""

    def hold(self, freq_hz: float) -> AbstractContextManager[None]:
        """Pin the clock inside the context and restore governor and limits on every exit."""

    def read(self, requested_hz: float) -> ClockReading:
        """Read back what is in force now."""


class TxPower(Protocol):
    """The transmit power of the radio."""

    capability: TxCapability

    def hold(self, power_w: float) -> AbstractContextManager[float | None]:
        """Set the power inside the context (yields what was read back, or None) and restore it on every exit."""
