"""What a board has done so far at the clocks it was asked for, and what its known work takes: the memory that verdicts
on single windows need. Each profile of the board renews it; `known_work` keeps it for the next start of the client.

Where work alone speaks against a board, it must say so twice: in a profile the clocks in doubt are timed again at once,
in tasks the first such window leaves the clock unknown, and the next one at that request decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from edge_client import clocking
from edge_client.clocking import Answer, Pace
from edge_client.protocol.messages import NetworkSpec, OppPoint
from edge_client.protocol.values import ClockFinding, VerifiedBy

log = logging.getLogger(__name__)

LEAST_WORK_S = 2.0
"""Shorter windows tell no clock: a cut batch weighs too much in them."""


@dataclass(frozen=True)
class Job:
    """Work whose time per sample can be compared: the same network and batch size."""

    network: NetworkSpec
    batch_size: int


@dataclass(frozen=True)
class Verdict:
    """The clock that a window ran at, who says so, and how the board failed the request (None: it did not, or it is not
    known; where work alone speaks against the board for the first time, nothing of the three is)."""

    verified_hz: float | None
    verified_by: VerifiedBy | None
    finding: ClockFinding | None


@dataclass(frozen=True)
class Memory:
    """What a board did: the clock seen at each that was asked for, and what a job takes (None: not known).

    `doubted_hz`: the clock that work alone told at a request in the last window there, where it was not the request and
    nothing had said so before."""

    seen_hz: dict[float, float] = field(default_factory=dict)
    pace: tuple[Job, Pace] | None = None
    doubted_hz: dict[float, float] = field(default_factory=dict)


class Obedience:
    """One board's record. `keep` is called with it whenever it has changed."""

    def __init__(self, memory: Memory | None = None, keep: Callable[[Memory], None] = lambda _: None) -> None:
        memory = memory or Memory()
        self._seen_hz = dict(memory.seen_hz)
        self._pace = memory.pace
        self._doubted_hz = dict(memory.doubted_hz)
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
        before, worked_hz = self._memory(), self._worked_hz(requested_hz, by, job, timed)
        if worked_hz is not None:
            off = not clocking.near(worked_hz, requested_hz)
            agreed = all(hz is None or clocking.near(hz, requested_hz) for hz in (accepted_hz, seen_hz))
            if off and agreed and not self._said_before(requested_hz, worked_hz):
                self._doubted_hz[requested_hz] = worked_hz
                self._remember(before)
                log.info("%.0f MHz was asked for, and the work took as long as at %.0f MHz: not known until the next "
                         "window there", requested_hz / 1e6, worked_hz / 1e6)  # fmt: skip
                return Verdict(None, None, None)
            self._doubted_hz.pop(requested_hz, None)
            if seen_hz is None or off:
                seen_hz, by = worked_hz, "work"
        finding = clocking.finding(requested_hz, accepted_hz, seen_hz, self._answers())
        # where work tells clocks, a driver that repeats the request takes nothing back in a window that work is mute on
        mute = by == "driver" and worked_hz is None and self._pace is not None and requested_hz in self._seen_hz
        if seen_hz is not None and not (mute and clocking.near(seen_hz, requested_hz)):
            self._seen_hz[requested_hz] = seen_hz
            self._remember(before)
        return Verdict(seen_hz, by if seen_hz is not None else None, finding)

    def _worked_hz(
        self, requested_hz: float, by: VerifiedBy, job: Job | None, timed: tuple[int, float]
    ) -> float | None:
        """The clock that the time of known work speaks of; None where a firmware tells it, or the work is mute."""
        samples, duration_s = timed
        if by == "firmware" or self._pace is None or self._pace[0] != job:
            return None
        if not samples or duration_s < LEAST_WORK_S:
            return None
        return self._pace[1].verified_hz(requested_hz, duration_s / samples)

    def _said_before(self, requested_hz: float, worked_hz: float) -> bool:
        """Whether another timing has told this clock: the last window at the request, or the profile, or what another
        request has brought. A doubt about that other one is then settled too."""
        told = [known[requested_hz] for known in (self._doubted_hz, self._seen_hz) if requested_hz in known]
        elsewhere = [hz for hz in told if not clocking.near(hz, requested_hz, clocking.SAME_BY_WORK)]
        if any(clocking.near(worked_hz, hz, clocking.WORK_TOLERANCE) for hz in elsewhere):
            return True
        same = {
            asked_hz: hz
            for asked_hz, hz in (self._seen_hz | self._doubted_hz).items()
            if max(asked_hz, requested_hz) >= clocking.LEAST_STEP * min(asked_hz, requested_hz)
            and not clocking.near(hz, asked_hz, clocking.SAME_BY_WORK)
            and clocking.near(worked_hz, hz, clocking.SAME_BY_WORK)
        }
        self._seen_hz |= same
        self._doubted_hz = {asked_hz: hz for asked_hz, hz in self._doubted_hz.items() if asked_hz not in same}
        return bool(same)

    def doubtful(self, points: Sequence[OppPoint], by: VerifiedBy) -> list[float]:
        """The requests of a fresh profile that must be timed again, for work alone speaks against the board there."""
        if by == "firmware":
            return []
        return clocking.doubtful([(hz, point.s_per_sample) for hz, point in _timed(points)])

    def profiled(
        self, job: Job, points: Sequence[OppPoint], by: VerifiedBy, first: Sequence[OppPoint] | None = None
    ) -> tuple[OppPoint, ...]:
        """A fresh profile, judged as a whole: what the board does at one clock is known by all the others.

        Where no firmware tells the clock, points at which the work took as good as the same time ran at one clock; with
        `first`, the points in the same order before those in doubt were timed again, they must have done so both times.
        """
        worked_hz: dict[float | None, float] = {}
        if by != "firmware":
            at_first = {point.freq_hz: point.s_per_sample for point in first or points}
            timed = [(hz, point.s_per_sample) for hz, point in _timed(points)]
            told_hz = clocking.clocks_by_work(timed, [(hz, at_first[hz]) for hz, _ in timed])
            worked_hz = dict(zip((hz for hz, _ in timed), told_hz, strict=True))
        judged = [_told(point, worked_hz.get(point.freq_hz), by) for point in points]
        if len(points) > 1:  # one alone is no profile, it wakes the trainer: what is known stays
            self._seen_hz, self._doubted_hz = {}, {}
            pace = Pace.of((point.verified_hz or hz, point.s_per_sample) for hz, point in _timed(judged))
            self._pace = None if pace is None else (job, pace)
        if len(points) > 1 or by == "firmware":
            self._seen_hz |= {
                point.freq_hz: point.verified_hz
                for point in judged
                if point.freq_hz is not None and point.verified_hz is not None
            }
        self._keep(self._memory())
        answers = self._answers()
        return tuple(
            msgspec.structs.replace(point, finding=clocking.finding(point.freq_hz, None, point.verified_hz, answers))
            for point in judged
        )

    def _memory(self) -> Memory:
        return Memory(dict(self._seen_hz), self._pace, dict(self._doubted_hz))

    def _remember(self, before: Memory) -> None:
        """Keep what a window has shown, unless it is as good as what was known before."""
        now = self._memory()
        same = now.doubted_hz == before.doubted_hz and now.seen_hz.keys() == before.seen_hz.keys()
        if not same or not all(clocking.near(hz, before.seen_hz[asked_hz]) for asked_hz, hz in now.seen_hz.items()):
            self._keep(now)

    def _answers(self) -> list[Answer]:
        return [Answer(asked_hz, seen_hz) for asked_hz, seen_hz in self._seen_hz.items()]


def _timed(points: Sequence[OppPoint]) -> list[tuple[float, OppPoint]]:
    """The points whose time tells something, with the clock asked for: a starved one's does not."""
    return [(hz, point) for point in points if (hz := point.freq_hz) is not None and not point.starved]


def _told(point: OppPoint, worked_hz: float | None, by: VerifiedBy) -> OppPoint:
    """The point with its clock and who tells it: known work goes before a driver that repeats the request."""
    if worked_hz is not None and point.freq_hz is not None and not clocking.near(worked_hz, point.freq_hz):
        return msgspec.structs.replace(point, verified_hz=worked_hz, verified_by="work")
    return msgspec.structs.replace(point, verified_by=by if point.verified_hz is not None else None)
