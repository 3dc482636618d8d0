"""The CSV of a sweep while it grows: a line a window, complete before the next begins, so that a sweep can go on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.calibrate.csv_text import header_of, read_text
from tools.calibrate.errors import CalibrateError
from tools.calibrate.rows import COLUMNS, Row, read_rows, text_of

HEADER = tuple(COLUMNS)


def read_sweep(path: Path, terms: Mapping[str, object]) -> tuple[Row, ...]:
    """The windows that are there already (none without a file); a last line that was cut short is taken off.

    Raises CalibrateError where the file is not a sweep's own, or one made with other `terms` (column to value).
    """
    text = text_so_far(path, HEADER)
    if text is None:
        return ()
    _, rows = read_rows(text, str(path))
    refuse_other_terms(path, rows, terms)
    return rows


def append(path: Path, row: Row) -> None:
    """One more line; raises CalibrateError where it cannot be written."""
    append_line(path, HEADER, row)


def text_so_far(path: Path, header: Sequence[str]) -> str | None:
    """The text of a file of these columns, mended where a last line was cut short; None where no window stands in it.

    Raises CalibrateError where it was not written by us.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    text = read_text(path)
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    if text.strip() in ("", ",".join(header)):
        return None
    if header_of(text) != tuple(header):
        raise CalibrateError(f"{path}: was not written by `fimi-calibrate sweep`; give another --out")
    return text


def refuse_other_terms(path: Path, rows: Sequence[Any], terms: Mapping[str, object]) -> None:
    """Raises CalibrateError where a row says another value than `terms` (column to value)."""
    for row in rows:
        for name, wanted in terms.items():
            found = getattr(row, name)
            if found is not None and found != wanted:
                raise CalibrateError(
                    f"{path}: line {row.line} has {name} {found}, this sweep {wanted}; give another --out, or the same"
                    " settings as before"
                )


def append_line(path: Path, header: Sequence[str], row: object) -> None:
    """`row`'s values of the columns as one more line, below the header; raises CalibrateError."""
    lines: Sequence[Sequence[str]] = [[text_of(row, name) for name in header]]
    if not path.exists() or path.stat().st_size == 0:
        lines = [header, *lines]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CalibrateError(f"{path}: {error.strerror}; give --out a path that can be written") from None
