"""What outlives a piece of work: the idle floor that was measured, and a task's account from receipt to end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_client.agent.link import Link
from edge_client.agent.work import Work
from edge_client.events import Close
from edge_client.hardware.interfaces import MeterInfo
from edge_client.protocol.messages import TaskClosed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """Where clock (monotonic) and byte counters stood when the task came."""

    start: float
    bytes_sent: int
    bytes_received: int

    @classmethod
    def open(cls, link: Link, now: float) -> Account:
        return cls(now, link.bytes_sent, link.bytes_received)

    def close(self, close: Close, link: Link, work: Work, now: float) -> TaskClosed:
        """The last word on the task: joules from its receipt to now, whatever became of it."""
        task = close.task
        energy = work.sampler.energy(self.start, now, work.idle_power_w)
        work.journal.write("task", self.start, now, energy, run=task.run, round=task.round, outcome=close.outcome)
        return TaskClosed(
            device=work.device,
            run=task.run,
            round=task.round,
            outcome=close.outcome,
            reason=close.reason,
            energy=energy,
            samples_trained=work.samples_done,
            bytes_sent=link.bytes_sent - self.bytes_sent,
            bytes_received=link.bytes_received - self.bytes_received,
        )


class _Floor(msgspec.Struct, frozen=True):
    """What is in the file: watts, and which meter saw them where."""

    power_w: float
    meter: str
    boundary: str | None


class IdleFloor:
    """The board's idle power in a file, so that a client started again still knows it.

    It belongs to one meter at one boundary: watts at the wall are no floor for joules of the processor.
    """

    def __init__(self, path: Path, info: MeterInfo | None) -> None:
        self._path = path
        self._info = info

    def read(self) -> float | None:
        """The floor in watts; None where none was kept for this meter."""
        try:
            held = msgspec.json.decode(self._path.read_bytes(), type=_Floor)
        except (OSError, msgspec.MsgspecError):
            return None
        info = self._info
        return held.power_w if info and (held.meter, held.boundary) == (info.name, info.boundary) else None

    def keep(self, power_w: float | None) -> None:
        """Remember it; where it cannot be written it lives as long as the client."""
        if power_w is None or self._info is None:
            return
        fresh = self._path.with_suffix(".partial")
        try:
            fresh.write_bytes(msgspec.json.encode(_Floor(power_w, self._info.name, self._info.boundary)))
            fresh.replace(self._path)
        except OSError as error:
            log.warning("the idle floor could not be noted in %s: %s", self._path, error.strerror)
