"""What outlives a piece of work: the idle floor that was measured, and a task's account from receipt to end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_client.agent.link import Link
from edge_client.agent.work import Work
from edge_client.events import Close
from edge_client.protocol.messages import TaskClosed


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


class IdleFloor:
    """The board's idle power in a file, so that a client started again still knows it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> float | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=float)
        except (OSError, msgspec.MsgspecError):
            return None

    def keep(self, power_w: float | None) -> None:
        if power_w is not None:
            self._path.write_bytes(msgspec.json.encode(power_w))
