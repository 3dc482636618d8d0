"""What a board is known to do at its clocks, in a file, so that a client started again in mid-run still knows it.

It holds for one board under one kernel with one table of clocks, and for one runtime on so many threads of these CPUs:
anything else would take another time, or obey otherwise, and is forgotten. Network and batch size that a time holds for
are remembered with it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge_client.agent.obedience import Job, Memory
from edge_client.clocking import Pace
from edge_client.hardware.board import Board
from edge_client.protocol.messages import NetworkSpec

log = logging.getLogger(__name__)

_Positive = Annotated[float, Meta(gt=0)]
_Pairs = tuple[tuple[_Positive, _Positive], ...]


class Circumstances(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be the same for the memory to hold."""

    board: str
    kernel: str
    opps_hz: tuple[float, ...]
    runtime: str
    threads: int
    cpus: tuple[int, ...] | None


class _Pace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    network: NetworkSpec
    batch_size: int
    points: Annotated[_Pairs, Meta(min_length=2)]
    """Hertz and seconds a sample."""


class _Held(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in the file."""

    circumstances: Circumstances
    seen_hz: _Pairs
    pace: _Pace | None
    doubted_hz: _Pairs = ()


def circumstances(board: Board, runtime: str, threads: int, cpus: Sequence[int] | None) -> Circumstances:
    """Those of this client."""
    return Circumstances(
        board=board.name,
        kernel=board.fs.read("proc/sys/kernel/osrelease") or os.uname().release,
        opps_hz=board.cpufreq.available_hz(),
        runtime=runtime,
        threads=threads,
        cpus=None if cpus is None else tuple(cpus),
    )


class KnownWork:
    """The file at `path` under these circumstances."""

    def __init__(self, path: Path, now: Circumstances) -> None:
        self._path = path
        self._now = now

    def read(self) -> Memory:
        """What is remembered; nothing where there is no file, or it is of other circumstances or of another version."""
        try:
            held = msgspec.json.decode(self._path.read_bytes(), type=_Held)
        except FileNotFoundError:
            return Memory()
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s: %s; what was known of this board's clocks is forgotten", self._path, error)
            return Memory()
        if held.circumstances != self._now:
            log.info("another board, kernel, table of clocks or runtime: what was known of its clocks is forgotten")
            return Memory()
        pace = None if held.pace is None else (_job(held.pace), Pace(held.pace.points))
        return Memory(dict(held.seen_hz), pace, dict(held.doubted_hz))

    def keep(self, memory: Memory) -> None:
        """Remember this in place of what was; where it cannot be written it lives as long as the client."""
        pace = None
        if memory.pace is not None:
            job, known = memory.pace
            pace = _Pace(network=job.network, batch_size=job.batch_size, points=known.points)
        held = _Held(
            circumstances=self._now,
            seen_hz=tuple(sorted(memory.seen_hz.items())),
            pace=pace,
            doubted_hz=tuple(sorted(memory.doubted_hz.items())),
        )
        fresh = self._path.with_suffix(".partial")
        try:
            fresh.write_bytes(msgspec.json.encode(held))
            fresh.replace(self._path)
        except OSError as error:
            log.warning("what this board does at its clocks could not be noted in %s: %s", self._path, error.strerror)


def _job(pace: _Pace) -> Job:
    return Job(pace.network, pace.batch_size)
