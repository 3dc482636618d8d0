"""Which windows a sweep still has to measure, in which order. Pure.

Every repeat visits all clocks and core counts once, in an order of its own drawn from the seed: what drifts (warmth,
the room, the meter) then falls on all clocks alike. An idle window comes before every `IDLE_EVERY` windows of
training. What the file already holds is not measured again; a window that was rejected is, at the end, at most `tries`
times in all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tools.calibrate.rows import Row

IDLE_EVERY = 5

C = TypeVar("C")


@dataclass(frozen=True)
class Cell:
    """One window to measure; an idle one has no clock and no cores."""

    freq_hz: float | None
    cores: int | None
    repeat: int

    @property
    def idle(self) -> bool:
        return self.freq_hz is None


def planned(opps_hz: Sequence[float], cores: Sequence[int], repeats: int, seed: int) -> tuple[Cell, ...]:
    """All windows of a sweep in order."""
    turns = [[Cell(hz, count, repeat) for hz in opps_hz for count in cores] for repeat in range(1, repeats + 1)]
    return in_order(turns, lambda repeat: Cell(None, None, repeat), seed)


def in_order(turns: Sequence[Sequence[C]], idle: Callable[[int], C], seed: int) -> tuple[C, ...]:
    """Cells of any kind: each turn shuffled, and the k-th idle one, from 1 on, before every `IDLE_EVERY` others."""
    cells: list[C] = []
    for repeat, turn in enumerate(turns, start=1):
        shuffled = list(turn)
        random.Random(f"{seed}:{repeat}").shuffle(shuffled)
        cells += shuffled
    starts = range(0, len(cells), IDLE_EVERY)
    return tuple(
        cell for k, start in enumerate(starts, start=1) for cell in (idle(k), *cells[start : start + IDLE_EVERY])
    )


def remaining(cells: Iterable[Cell], rows: Sequence[Row], tries: int) -> tuple[Cell, ...]:
    """Of `cells` those without a good window among `rows` that were not tried `tries` times; rejected ones last."""
    return still_to_do(cells, [(cell_of(row), bool(row.rejected)) for row in rows], tries)


def still_to_do(cells: Iterable[C], done: Sequence[tuple[C, bool]], tries: int) -> tuple[C, ...]:
    """The same for cells of any kind: `done` has each window's cell, and whether it was rejected."""
    good = {cell for cell, rejected in done if not rejected}
    tried = Counter(cell for cell, _ in done)
    left = [cell for cell in cells if cell not in good and tried[cell] < tries]
    return tuple(sorted(left, key=lambda cell: tried[cell] > 0))


def given_up(cells: Iterable[Cell], rows: Sequence[Row]) -> tuple[Cell, ...]:
    """Cells that have rejected windows only."""
    good = {cell_of(row) for row in rows if not row.rejected}
    bad = {cell_of(row) for row in rows if row.rejected}
    return tuple(cell for cell in cells if cell in bad and cell not in good)


def cell_of(row: Row) -> Cell:
    """The cell that a row of a sweep's own file belongs to."""
    return Cell(None if row.idle else row.freq_hz, None if row.idle else row.cores, row.repeat or 0)


def time_left_s(cells: Sequence[Cell], window_s: float, settle_s: float, measured: Sequence[float]) -> float:
    """What `cells` will take: as long as windows took so far (`measured`, seconds), else what was asked for."""
    each_s = sum(measured) / len(measured) if measured else window_s + settle_s
    return len(cells) * each_s


def pick(opps_hz: Sequence[float], wanted: int) -> tuple[float, ...]:
    """`wanted` of the operating points, evenly spread, both ends among them."""
    if wanted >= len(opps_hz):
        return tuple(opps_hz)
    return tuple(opps_hz[round(k * (len(opps_hz) - 1) / (wanted - 1))] for k in range(wanted))
