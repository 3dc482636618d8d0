"""How a search is doing, on one line that is written over on a terminal, and now and then on a new one elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_TERMINAL_S, _FILE_S = 0.2, 10.0  # seconds between two lines


class SearchLine:
    """Takes what `server.plan.methods.Report` is told; `end` leaves one line behind with what was searched."""

    def __init__(self, method: str, out: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._method, self._out, self._now = method, out, now
        self._terminal = out.isatty()
        self._began = self._last_said = now()
        self._told: tuple[int, int, float] | None = None

    def __call__(self, spent: int, asked: int, best_j: float) -> None:
        self._told = (spent, asked, best_j)
        now = self._now()
        if now - self._last_said < (_TERMINAL_S if self._terminal else _FILE_S):
            return
        self._last_said = now
        left_s = (now - self._began) / spent * (asked - spent)
        self._say(f"{self._so_far(spent, asked, best_j)}; at most {_clock(left_s)} left, Ctrl-C takes what is found")

    def end(self) -> None:
        """Says what was searched, if anything was; a search may end before it has used all its candidates."""
        if self._told is not None:
            self._say(self._so_far(*self._told))
            if self._terminal:
                self._out.write("\n")
                self._out.flush()

    def _so_far(self, spent: int, asked: int, best_j: float) -> str:
        return f"{self._method}: {spent:,} of {asked:,} candidates, best {best_j:.6g} J"

    def _say(self, line: str) -> None:
        self._out.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
        self._out.flush()


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min" if whole >= 60 else f"{whole} s"
