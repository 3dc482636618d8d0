"""Measures a window of work on a board: joules, the clock that was really in force, starvation, throttling."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from edge_client import accounting
from edge_client.agent.obedience import Job, Obedience
from edge_client.hardware.board import Board
from edge_client.hardware.interfaces import ClockReading
from edge_client.protocol.messages import EnergyReading, SegmentOutcome
from edge_client.protocol.tasks import end
from edge_client.protocol.values import Limit

CLOCK_POLL_S = 1.0
CLOCK_SETTLE_S = 0.05  # a transition takes up to milliseconds; the first look comes after it
_JOURNAL_BYTES = 4 << 20  # twice that with the file before

log = logging.getLogger(__name__)


class Window:
    """What was seen between `start` and `end` (monotonic seconds)."""

    def __init__(self, board: Board, requested_hz: float | None) -> None:
        self._board = board
        self._requested_hz = requested_hz
        self._clocks: list[tuple[float, ClockReading]] = []
        self._limits: list[frozenset[Limit]] = []
        self._waited_us: tuple[int | None, int | None] = (None, None)
        self.start = self.end = time.monotonic()

    @property
    def duration_s(self) -> float:
        return self.end - self.start

    @property
    def starved(self) -> bool | None:
        return accounting.starved(*self._waited_us, self.duration_s)

    @property
    def verified_hz(self) -> float | None:
        return accounting.typical_hz([clock.verified_hz for _, clock in self._clocks])

    @property
    def accepted_hz(self) -> float | None:
        return accounting.typical_hz([clock.accepted_hz for _, clock in self._clocks])

    @property
    def limits(self) -> tuple[Limit, ...] | None:
        """What held the clock down at any look; None where nothing tells."""
        return tuple(sorted(frozenset().union(*self._limits))) if self._limits else None

    def outcome(
        self,
        samples: int,
        energy: EnergyReading,
        obedience: Obedience | None = None,
        job: Job | None = None,
        *,
        refused: bool = False,
    ) -> SegmentOutcome:
        """The window as the outcome of a plan's segment; `refused`: the clock could not be set at all."""
        requested_hz, limits = self._requested_hz, self.limits
        violation_s = accounting.violation_s(self._clocks, self.start, self.end) if requested_hz is not None else 0.0
        timed = (0, 0.0) if self.starved or refused else (samples, self.duration_s)
        verdict = (obedience or Obedience()).judge(
            requested_hz, self.accepted_hz, (self.verified_hz, self._board.verified_by), job, timed
        )
        if verdict.verified_by == "work" and verdict.finding is not None:
            violation_s = self.duration_s
        return SegmentOutcome(
            requested_hz=requested_hz,
            accepted_hz=self.accepted_hz,
            verified_hz=verdict.verified_hz,
            violation_s=violation_s,
            samples=samples,
            duration_s=self.duration_s,
            energy=energy,
            starved=self.starved,
            throttled=None if limits is None else bool(limits),
            verified_by=verdict.verified_by,
            finding="refused" if refused else verdict.finding,
            limits=limits or (),
        )

    def begin(self) -> None:
        """The window starts now (again)."""
        self._board.limits.mark()
        self._waited_us = (self._board.waited_us(), None)
        self.start = self.end = time.monotonic()

    def finish(self, at: float | None = None) -> None:
        """The window ends, now or at an instant just past."""
        self.end = time.monotonic() if at is None else at
        self._waited_us = (self._waited_us[0], self._board.waited_us())

    async def watch(self) -> None:
        """Look at the clock every second until cancelled; in a thread, for it may run a command."""
        await asyncio.sleep(CLOCK_SETTLE_S)
        while True:
            reading, limits = await asyncio.to_thread(self._look)
            self._clocks.append((time.monotonic(), reading))
            if limits is not None:
                self._limits.append(limits)
            await asyncio.sleep(CLOCK_POLL_S)

    def _look(self) -> tuple[ClockReading, frozenset[Limit] | None]:
        return self._board.cpufreq.read(self._requested_hz or 0.0), self._board.limits.read()


@contextlib.asynccontextmanager
async def watched(board: Board, requested_hz: float | None) -> AsyncIterator[Window]:
    """A window that is watched inside the context, from its start to its end unless `begin` and `finish` say else."""
    window = Window(board, requested_hz)
    window.begin()
    watch = asyncio.create_task(window.watch())
    try:
        yield window
    finally:
        if window.end == window.start:
            window.finish()
        await end(watch)


class Journal:
    """One JSON line per measured window, on the monotonic clock: to hold our joules against another instrument's.

    No work fails for it: where it cannot be written (a full disk), that is said once, and the next window is tried. A
    file that has grown large becomes `.old` in place of the one before, so that the latest windows are there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._try(lambda: path.write_bytes(b""))

    def write(self, kind: str, start: float, end: float, energy: EnergyReading, **more: object) -> None:
        split = {"idle_j": energy.idle_j, "added_j": energy.added_j, "short_window": energy.short_window}
        line = {"kind": kind, "start": start, "end": end, "energy": energy, **split, **more}
        self._try(lambda: self._append(msgspec.json.encode(line) + b"\n"))

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            if file.tell() < _JOURNAL_BYTES:
                file.write(line)
                return
        self._path.replace(self._path.with_suffix(".old"))
        self._path.write_bytes(line)

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            if not self._said:
                log.warning("%s: %s; windows are not noted there until that is mended", self._path, error.strerror)
            self._said = True
        else:
            self._said = False
