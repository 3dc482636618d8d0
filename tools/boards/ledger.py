"""The truth about a board: what it really drew. It lies outside the board's root; client and server never open it.

One JSON object a line. The first names the unit (profile, seed, drawn parameters); the others are cumulative since the
start, `t` on the monotonic clock, so any window is the difference of two lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = ("true_j", "seconds", "busy_s", "starved_s", "link_s", "cpu_s")


class Ledger:
    """Appends lines; each is complete before the next begins, so nothing is lost when the process dies."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self.append({"event": "unit", **header})

    def append(self, line: Mapping[str, Any]) -> None:
        """One line."""
        os.write(self._fd, (json.dumps(line, separators=(",", ":")) + "\n").encode())

    def close(self) -> None:
        """No more lines."""
        os.close(self._fd)


@dataclass(frozen=True)
class Truth:
    """A ledger read back: `unit` the first line, `t` (n,) monotonic seconds, `columns` name -> (n,) cumulative."""

    unit: dict[str, Any]
    t: np.ndarray
    columns: dict[str, np.ndarray]

    def between(self, start_t: float, end_t: float) -> dict[str, float]:
        """What happened from `start_t` to `end_t` (monotonic), linear between lines."""
        return {
            name: float(np.interp(end_t, self.t, column) - np.interp(start_t, self.t, column))
            for name, column in self.columns.items()
        }


def read_ledger(path: Path) -> Truth:
    """The whole ledger; a last line cut short by a crash is left out."""
    unit, *lines = _lines(path)
    return Truth(
        unit=unit,
        t=np.array([line["t"] for line in lines]),
        columns={name: np.array([line[name] for line in lines]) for name in FIELDS},
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for text in file:
            if text.endswith("\n"):
                yield json.loads(text)
