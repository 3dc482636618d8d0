"""The CSV of a sweep while it grows: a line a window, complete before the next begins, so that a sweep can go on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.calibrate.csv_text import read_text
from tools.calibrate.errors import CalibrateError
from tools.calibrate.rows import COLUMNS, Row, read_rows, text_of

HEADER = tuple(COLUMNS)


def read_sweep(path: Path, terms: Mapping[str, object]) -> tuple[Row, ...]:
    """The windows that are there already (none without a file); a last line that was cut short is taken off.

    Raises CalibrateError where the file is not a sweep's own, or one made with other `terms` (column to value).
    """
    if not path.exists() or path.stat().st_size == 0:
        return ()
    text = read_text(path)
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    if text.strip() in ("", ",".join(HEADER)):
        return ()
    sheet, rows = read_rows(text, str(path))
    if sheet.columns != HEADER:
        raise CalibrateError(f"{path}: was not written by `fimi-calibrate sweep`; give another --out")
    for row in rows:
        for name, wanted in terms.items():
            found = getattr(row, name)
            if found is not None and found != wanted:
                raise CalibrateError(
                    f"{path}: line {row.line} has {name} {found}, this sweep {wanted}; give another --out, or the same"
                    " settings as before"
                )
    return rows


def append(path: Path, row: Row) -> None:
    """One more line; raises CalibrateError where it cannot be written."""
    lines: Sequence[Sequence[str]] = [[text_of(row, name) for name in HEADER]]
    if not path.exists() or path.stat().st_size == 0:
        lines = [HEADER, *lines]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CalibrateError(f"{path}: {error.strerror}; give --out a path that can be written") from None
