"""A sweep's CSV as windows. Pure; the columns are documented in tools/README.md.

A window is one stretch of training at one clock, or an idle one. Four columns make a sheet by hand: freq_hz, samples,
duration_s, energy_j; the others tell what kind of window it was and whether it can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from tools.calibrate.csv_text import Column, Line, Sheet, clock, flag, number, parse, signed, whole
from tools.calibrate.errors import CalibrateError

MOST_W = 1000.0
"""No board draws more: beyond it, joules or seconds stand in other units."""

SOURCES = ("measured", "modelled")
BOUNDARIES = ("board", "soc", "cpu_package", "wall")


def one_of(*names: str) -> Column:
    """A column of these words."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"is {text!r}; give one of {', '.join(names)}")
        return text

    return Column(read)


COLUMNS: dict[str, Column] = {
    "freq_hz": Column(clock, required=True),
    "samples": Column(whole, required=True),
    "duration_s": Column(number, required=True),
    "energy_j": Column(number, required=True),
    "cores": Column(whole),
    "verified_hz": Column(clock),
    "violation_s": Column(number),
    "starved": Column(flag),
    "throttled": Column(flag),
    "idle": Column(flag),
    "temperature_start_c": Column(signed),
    "temperature_c": Column(signed),
    "repeat": Column(whole),
    "start": Column(str),
    "source": one_of(*SOURCES),
    "boundary": one_of(*BOUNDARIES),
    "meter": Column(str),
    "uncertainty": Column(number),
    "network": Column(str),
    "batch_size": Column(whole),
    "runtime": Column(str),
    "board": Column(str),
    "kernel": Column(str),
    "governor": Column(str),
    "rejected": Column(str),
}


@dataclass(frozen=True)
class Row:
    """One window; None where its line does not say. `line` is its place in the file; an idle one needs no clock.

    Temperatures are those at its start and at its end.
    """

    line: int
    freq_hz: float | None
    samples: int
    duration_s: float
    energy_j: float
    cores: int | None = None
    verified_hz: float | None = None
    violation_s: float | None = None
    starved: bool | None = None
    throttled: bool | None = None
    idle: bool = False
    temperature_start_c: float | None = None
    temperature_c: float | None = None
    repeat: int | None = None
    start: str | None = None
    source: Literal["measured", "modelled"] | None = None
    boundary: Literal["board", "soc", "cpu_package", "wall"] | None = None
    meter: str | None = None
    uncertainty: float | None = None
    network: str | None = None
    batch_size: int | None = None
    runtime: str | None = None
    board: str | None = None
    kernel: str | None = None
    governor: str | None = None
    rejected: str | None = None

    @property
    def power_w(self) -> float:
        return self.energy_j / self.duration_s


def read_rows(text: str, source: str) -> tuple[Sheet, tuple[Row, ...]]:
    """All windows of a sweep's CSV, as they stand; raises CalibrateError."""
    sheet = parse(text, source, COLUMNS)
    rows = tuple(_row(line, f"{source}: line {line.number}") for line in sheet.lines)
    _refuse_repetitions(rows, source)
    return sheet, rows


def the_same(rows: Sequence[Any], name: str, source: str, right: str) -> object:
    """The one value that `rows`, each with its `line`, have in a column, None where none says; raises CalibrateError
    where they differ."""
    seen: dict[object, int] = {}
    for row in rows:
        if (value := getattr(row, name)) is not None:
            seen.setdefault(value, row.line)
    if len(seen) > 1:
        (a, at_a), (b, at_b) = list(seen.items())[:2]
        raise CalibrateError(f"{source}: {name} is {a} on line {at_a} and {b} on line {at_b}; {right}")
    return next(iter(seen), None)


def refuse_watts(cells: Mapping[str, Any], where: str) -> None:
    """Raises CalibrateError where a window draws more than any board does."""
    power_w = cells["energy_j"] / cells["duration_s"]
    if power_w > MOST_W:
        raise CalibrateError(
            f"{where}: energy_j over duration_s is {power_w:.4g} W, more than any board draws; give joules and seconds"
        )


def _row(line: Line, where: str) -> Row:
    cells = dict(line.cells)
    idle = cells.get("idle", False)
    for name in ("duration_s", "energy_j", *(() if idle else ("freq_hz", "samples"))):
        if name not in cells:
            raise CalibrateError(f"{where}: {name} is blank; give what was measured, or leave the line out")
        if cells[name] == 0:
            raise CalibrateError(f"{where}: {name} is 0; give what was measured, or leave the line out")
    for name in ("cores", "batch_size"):
        if cells.get(name) == 0:
            raise CalibrateError(f"{where}: {name} is 0; give at least 1, or leave it blank")
    cells = {"freq_hz": None, "samples": 0, **cells}
    refuse_watts(cells, where)
    known = {field.name for field in fields(Row)}
    return Row(line=line.number, **{name: value for name, value in cells.items() if name in known})


def _refuse_repetitions(rows: Sequence[Row], source: str) -> None:
    """Two measurements never agree to the last digit: a line that does was pasted twice."""
    seen: dict[tuple[object, ...], int] = {}
    for row in rows:
        key = tuple(getattr(row, field.name) for field in fields(Row) if field.name != "line")
        if key in seen:
            raise CalibrateError(
                f"{source}: line {row.line} says the same as line {seen[key]}; leave one out, or tell real repeats"
                " apart in a column `repeat`"
            )
        seen[key] = row.line


def text_of(row: object, name: str) -> str:
    """A cell as it is written."""
    value = getattr(row, name)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(cast(object, value))
