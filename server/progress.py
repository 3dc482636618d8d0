"""What people see while a run goes on: a live table on a terminal, plain lines elsewhere.

What devices say of themselves stands in both. It is shown as it is, never taken for markup or a terminal's commands.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from edge_client.protocol.messages import Heartbeat

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table


class Progress:
    """Lines about what is done, and the state of each device while it works."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stdout
        self._live: Live | None = None
        self._title = ""
        self._devices: dict[str, Heartbeat] = {}
        self._started = time.monotonic()

    def say(self, line: str) -> None:
        """Something that stays on the screen."""
        line = printable(line)
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text(line))
        else:
            print(line, file=self._out, flush=True)

    def title(self, text: str) -> None:
        """What is going on now; only the live table shows it."""
        self._title = text
        self._redraw()

    def heartbeat(self, beat: Heartbeat) -> None:
        self._devices[beat.device] = beat
        self._redraw()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """The live table inside the context, if the output is a terminal and rich is there."""
        if not self._out.isatty():
            yield
            return
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError:
            yield
            return
        console = Console(file=self._out)
        with Live(self._table(), console=console, refresh_per_second=4, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _redraw(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        seconds = int(time.monotonic() - self._started)
        title = Text(printable(f"{self._title}  ({seconds // 60}:{seconds % 60:02d})"), style="table.title")
        table = Table(title=title, title_justify="left", box=None)
        for heading in ("device", "state"):
            table.add_column(heading)
        for heading in ("samples", "MHz", "W"):
            table.add_column(heading, justify="right")
        for device, beat in sorted(self._devices.items()):
            mhz = "-" if beat.freq_hz is None else f"{beat.freq_hz / 1e6:.0f}"
            watts = "-" if beat.power_w is None else f"{beat.power_w:.2f}"
            table.add_row(*(Text(printable(text)) for text in (device, beat.state, f"{beat.samples_done}", mhz, watts)))
        return table


def printable(text: str) -> str:
    """The text with "?" for everything that moves a cursor or is not seen."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
