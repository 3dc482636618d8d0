"""What the agent needs of a board, as narrow protocols. Constructors discover and start nothing; a change is a context
that restores on every exit. Unknown is None, never zero."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

Boundary = Literal["board", "soc", "cpu_package", "wall"]
TxCapability = Literal["enforced", "accepted_unverified", "unsupported"]


@dataclass(frozen=True)
class MeterInfo:
    """What a meter is: its name, the boundary it sees and its relative uncertainty (one sigma of scale, 0.02 = 2 %)."""

    name: str
    boundary: Boundary
    uncertainty: float


class PowerMeter(Protocol):
    """Reads watts at an instant."""

    info: MeterInfo

    def read_power_w(self) -> float | None:
        """Power now in watts, or None when this read failed."""


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
