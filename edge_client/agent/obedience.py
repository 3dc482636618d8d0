"""What a board has done so far at the clocks it was asked for, and what its known work takes: the memory that verdicts
on single windows need. Each profile of the board renews it; `known_work` keeps it for the next start of the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from edge_client import clocking
from edge_client.clocking import Answer, Pace
from edge_client.protocol.messages import NetworkSpec, OppPoint
from edge_client.protocol.values import ClockFinding, VerifiedBy

LEAST_WORK_S = 2.0
"""Shorter windows tell no clock: a cut batch weighs too much in them."""


@dataclass(frozen=True)
class Job:
    """Work whose time per sample can be compared: the same network and batch size."""

    network: NetworkSpec
    batch_size: int


@dataclass(frozen=True)
class Verdict:
    """The clock that a window ran at, who says so, and how the board failed the request (None: it did not)."""

    verified_hz: float | None
    verified_by: VerifiedBy | None
    finding: ClockFinding | None


@dataclass(frozen=True)
class Memory:
    """What a board did: the clock seen at each that was asked for, and what a job takes (None: not known)."""

    seen_hz: dict[float, float] = field(default_factory=dict)
    pace: tuple[Job, Pace] | None = None


class Obedience:
    """One board's record. `keep` is called with it whenever it has changed."""

    def __init__(self, memory: Memory | None = None, keep: Callable[[Memory], None] = lambda _: None) -> None:
        memory = memory or Memory()
        self._seen_hz = dict(memory.seen_hz)
        self._pace = memory.pace
        self._keep = keep

    def judge(
        self,
        requested_hz: float | None,
        accepted_hz: float | None,
        seen: tuple[float | None, VerifiedBy],
        job: Job | None = None,
        timed: tuple[int, float] = (0, 0.0),
    ) -> Verdict:
        """The verdict on a window. `seen`: the clock that was read while it lasted, and of whom; `timed`: samples that
        `job` trained and the seconds it took, (0, 0) where they tell nothing (the processor was shared, say)."""
        seen_hz, by = seen
        if requested_hz is None:
            return Verdict(seen_hz, by if seen_hz is not None else None, None)
        samples, duration_s = timed
        known = by != "firmware" and self._pace is not None and self._pace[0] == job
        if known and self._pace is not None and samples and duration_s >= LEAST_WORK_S:
            worked_hz = self._pace[1].verified_hz(requested_hz, duration_s / samples)
            if seen_hz is None or not clocking.near(worked_hz, requested_hz):
                seen_hz, by = worked_hz, "work"
        finding = clocking.finding(requested_hz, accepted_hz, seen_hz, self._answers())
        if seen_hz is not None:
            before_hz = self._seen_hz.get(requested_hz)
            self._seen_hz[requested_hz] = seen_hz
            if before_hz is None or not clocking.near(seen_hz, before_hz):
                self._remember()
        return Verdict(seen_hz, by if seen_hz is not None else None, finding)

    def profiled(self, job: Job, points: Sequence[OppPoint], by: VerifiedBy) -> tuple[OppPoint, ...]:
        """A fresh profile, judged as a whole: what the board does at one clock is known by all the others.

        Where no firmware tells the clock, points at which the work took as good as the same time ran at one clock.
        """
        timed = [
            (hz, point.s_per_sample) for point in points if (hz := point.freq_hz) is not None and not point.starved
        ]
        worked_hz: dict[float | None, float] = {}
        if by != "firmware":
            worked_hz = dict(zip((hz for hz, _ in timed), clocking.clocks_by_work(timed), strict=True))
        judged = [_told(point, worked_hz.get(point.freq_hz), by) for point in points]
        if len(points) > 1:  # one alone is no profile, it wakes the trainer: what is known stays
            self._seen_hz = {}
            pace = Pace.of(
                (hz, point.s_per_sample)
                for point in judged
                if (hz := point.verified_hz or point.freq_hz) is not None and not point.starved
            )
            self._pace = None if pace is None else (job, pace)
        self._seen_hz |= {
            point.freq_hz: point.verified_hz
            for point in judged
            if point.freq_hz is not None and point.verified_hz is not None
        }
        self._remember()
        answers = self._answers()
        return tuple(
            msgspec.structs.replace(point, finding=clocking.finding(point.freq_hz, None, point.verified_hz, answers))
            for point in judged
        )

    def _remember(self) -> None:
        self._keep(Memory(dict(self._seen_hz), self._pace))

    def _answers(self) -> list[Answer]:
        return [Answer(asked_hz, seen_hz) for asked_hz, seen_hz in self._seen_hz.items()]


def _told(point: OppPoint, worked_hz: float | None, by: VerifiedBy) -> OppPoint:
    """The point with its clock and who tells it: known work goes before a driver that repeats the request."""
    if worked_hz is not None and point.freq_hz is not None and not clocking.near(worked_hz, point.freq_hz):
        return msgspec.structs.replace(point, verified_hz=worked_hz, verified_by="work")
    return msgspec.structs.replace(point, verified_by=by if point.verified_hz is not None else None)
