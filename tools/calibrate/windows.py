"""Which windows count, and by name what is wrong with the others. Pure.

The sweep measures such windows again, the fit leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_client.accounting import CLOCK_TOLERANCE
from tools.calibrate.rows import Row

VIOLATED = 0.05
"""Share of a window that the clock may be seen elsewhere before the window is mis-clocked."""


def faults(row: Row) -> tuple[str, ...]:
    """What speaks against a window: any of "throttled", "starved", "mis-clocked", "modelled"; empty where nothing does.

    An idle window cannot be mis-clocked. Joules of a model would only teach us that model.
    """
    found = []
    if row.throttled:
        found.append("throttled")
    if row.starved:
        found.append("starved")
    if not row.idle and _mis_clocked(row):
        found.append("mis-clocked")
    if row.source == "modelled":
        found.append("modelled")
    return tuple(found)


def _mis_clocked(row: Row) -> bool:
    known = row.verified_hz is not None and row.freq_hz is not None
    if known and abs(row.verified_hz - row.freq_hz) > CLOCK_TOLERANCE * row.freq_hz:  # type: ignore[operator]
        return True
    return row.violation_s is not None and row.violation_s > VIOLATED * row.duration_s


@dataclass(frozen=True)
class Sorted:
    """Windows by what they are good for; `rejected` counts those left out, by their first fault."""

    training: tuple[Row, ...]
    idle: tuple[Row, ...]
    rejected: dict[str, int]


def sort_windows(rows: Iterable[Row]) -> Sorted:
    """Training windows and idle windows that count, and how many do not."""
    rejected: dict[str, int] = {}
    good: list[Row] = []
    for row in rows:
        wrong: Sequence[str] = faults(row) or ((row.rejected.split(" ")[0],) if row.rejected else ())
        if wrong:
            rejected[wrong[0]] = rejected.get(wrong[0], 0) + 1
        else:
            good.append(row)
    return Sorted(
        training=tuple(row for row in good if not row.idle),
        idle=tuple(row for row in good if row.idle),
        rejected=rejected,
    )
