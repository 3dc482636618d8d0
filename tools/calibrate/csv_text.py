"""CSV text as lines of typed cells. Pure; every complaint names the file, the line and the column.

Comma-separated, a header first; blank lines and lines that begin with # are skipped. Columns are told by a table of
`Column`s, so a sweep and an upload file are read alike.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.calibrate.errors import CalibrateError

_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")
_UNITS = {
    "hz": ("khz", "mhz", "ghz"),
    "s": ("ms", "us", "min", "h"),
    "j": ("mj", "kj", "wh", "mwh"),
    "w": ("mw", "dbm", "mbm"),
    "bytes": ("bits", "kb", "kib", "mb", "mib"),
}
_WORDS = {"hz": "hertz", "s": "seconds", "j": "joules", "w": "watts", "bytes": "bytes"}


@dataclass(frozen=True)
class Column:
    """How a column is read: `read` makes a value of a cell or raises ValueError("<wrong>; <right>")."""

    read: Callable[[str], Any]
    required: bool = False


@dataclass(frozen=True)
class Line:
    """One line of the file: its number, and its cells that are not blank."""

    number: int
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A file as read: the columns it has, those that nobody knows, and its lines."""

    source: str
    columns: tuple[str, ...]
    unknown: tuple[str, ...]
    lines: tuple[Line, ...]


def read_text(path: Path) -> str:
    """The text of a CSV file; raises CalibrateError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CalibrateError(f"{path}: no such file; give the path of a CSV file") from None
    except UnicodeDecodeError as error:
        raise CalibrateError(f"{path}: byte {error.start} is not UTF-8; give a CSV file of UTF-8 text") from None
    except OSError as error:
        raise CalibrateError(f"{path}: {error.strerror}; give the path of a readable CSV file") from None


def header_of(text: str) -> tuple[str, ...]:
    """The names of the first line that counts; none where there is none or it is no CSV."""
    try:
        _, record = next(_records(text, ""), (0, []))
    except CalibrateError:
        return ()
    return tuple(name.strip() for name in record)


def parse(text: str, source: str, columns: Mapping[str, Column]) -> Sheet:
    """CSV text as typed cells; raises CalibrateError for the first thing that is wrong."""
    records = _records(text, source)
    first = next(records, None)
    wanted = [name for name, column in columns.items() if column.required]
    if first is None:
        raise CalibrateError(f"{source}: the file is empty; give a header ({', '.join(wanted)}) and a line a window")
    header = [name.strip() for name in first[1]]
    _check_header(header, f"{source}: line {first[0]}", columns, wanted)
    lines = []
    for number, record in records:
        if len(record) != len(header):
            raise CalibrateError(f"{source}: line {number} has {len(record)} cells; the header names {len(header)}")
        lines.append(Line(number, _cells(dict(zip(header, record, strict=True)), f"{source}: line {number}", columns)))
    if not lines:
        raise CalibrateError(f"{source}: there is nothing below the header; give a line a window")
    return Sheet(source, tuple(header), tuple(name for name in header if name not in columns), tuple(lines))


def _records(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text))
    try:
        for record in reader:
            if any(cell.strip() for cell in record) and not record[0].lstrip().startswith("#"):
                yield reader.line_num, record
    except csv.Error as error:
        raise CalibrateError(f"{source}: line {reader.line_num}: {error}; give comma-separated values") from None


def _check_header(header: Sequence[str], where: str, columns: Mapping[str, Column], wanted: Sequence[str]) -> None:
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise CalibrateError(f"{where}: {twice[0]} stands in the header twice; name each column once")
    missing = [name for name in wanted if name not in header]
    if not missing:
        return
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        raise CalibrateError(f"{where}: the header is one cell, {header[0]!r}; separate columns by commas")
    hint = f"; a sheet needs {', '.join(wanted)}"
    stem, _, unit = missing[0].rpartition("_")
    foreign = [name for name in header if name.lower() in {f"{stem}_{other}" for other in _UNITS.get(unit, ())}]
    near = difflib.get_close_matches(missing[0], [name for name in header if name not in columns], n=1, cutoff=0.7)
    if foreign:
        hint = f", but {foreign[0]} is there; give {missing[0]} in {_WORDS[unit]}"
    elif near:
        hint = f"; did you mean it by {near[0]!r}?"
    raise CalibrateError(f"{where}: the column {', '.join(missing)} is missing{hint}")


def _cells(record: Mapping[str, str], where: str, columns: Mapping[str, Column]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, text in record.items():
        if name in columns and (text := text.strip()):
            try:
                cells[name] = columns[name].read(text)
            except ValueError as error:
                raise CalibrateError(f"{where}: {name} {error}") from None
    return cells


# ---- what stands in cells


def number(text: str) -> float:
    """A finite number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"is {text!r}; give a number") from None
    if not math.isfinite(value):
        raise ValueError(f"is {text}; give a finite number, or leave the line out")
    if value < 0:
        raise ValueError(f"is {text}, below 0; give what was measured")
    return value


def signed(text: str) -> float:
    """A finite number of either sign."""
    return -number(text[1:]) if text.startswith("-") else number(text)


def clock(text: str) -> float:
    """A clock in hertz, 10 MHz to 10 GHz; says which unit it looks like."""
    value = number(text)
    if 1e7 <= value <= 1e10:
        return value
    for unit, scale in (("GHz", 1e9), ("MHz", 1e6), ("kHz", 1e3)):
        if 1e7 <= value * scale <= 6e9:
            raise ValueError(f"is {text}, which looks like {unit}; give hertz, {value * scale:.0f}")
    raise ValueError(f"is {text}, no clock from 10 MHz to 10 GHz; give hertz")


def whole(text: str) -> int:
    """A whole number that is not negative."""
    value = number(text)
    if value != int(value):
        raise ValueError(f"is {text}; give a whole number")
    return int(value)


def flag(text: str) -> bool:
    """true or false, 1 or 0, yes or no."""
    lowered = text.lower()
    if lowered not in _YES + _NO:
        raise ValueError(f"is {text!r}; give true or false")
    return lowered in _YES
