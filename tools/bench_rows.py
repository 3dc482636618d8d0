"""What `bench_boards` shows of a board at a clock: the client's windows beside law and ledger, as numbers and as text.

Pure. Ratios are against the board's own top clock; of windows that were starved only the count and the lost time are
used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.boards.law import BoardLaw
from tools.boards.ledger import Truth

TOLERANCE = 0.05


@dataclass(frozen=True)
class Window:
    """One window of a client's journal beside the ledger's truth about it."""

    freq_hz: float
    seconds: float
    samples: int
    client_j: float
    ledger_j: float
    cpu_s: float
    lost_s: float
    starved: bool | None


@dataclass(frozen=True)
class Row:
    """All windows of a board at one clock that were not starved, against those at its top clock."""

    board: str
    freq_mhz: float
    windows: int
    starved: int
    seconds: float
    samples_per_s: float
    tau_ratio: float
    law_ratio: float
    client_j: float
    ledger_j: float
    worst_energy_off: float
    lost_share: float
    cpu_ms_per_sample: float
    share_off: float

    @property
    def speed_off(self) -> float:
        return self.tau_ratio / self.law_ratio - 1.0

    @property
    def ok(self) -> bool:
        """Within tolerance, or nothing left to judge: nan compares false."""
        return not (abs(self.speed_off) > TOLERANCE or abs(self.worst_energy_off) > TOLERANCE)


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [
        "board      MHz  win starved    s  samples/s  tau/tau_top   law    off   client J  ledger J  worst"
        "   lost  ms/sample  q off"
    ]
    lines += [
        f"{row.board:<8} {row.freq_mhz:>5.0f} {row.windows:>4} {row.starved:>7} {row.seconds:>4.0f}"
        f" {row.samples_per_s:>10.2f} {row.tau_ratio:>12.3f} {row.law_ratio:>5.2f} {row.speed_off:>+6.1%}"
        f" {row.client_j:>10.2f} {row.ledger_j:>9.2f} {row.worst_energy_off:>+6.1%} {row.lost_share:>6.1%}"
        f" {row.cpu_ms_per_sample:>10.2f} {row.share_off:>+6.1%}"
        for row in rows
    ]
    return "\n".join(lines)


def rows_of(board: str, law: BoardLaw, journal: Sequence[dict[str, Any]], truth: Truth) -> list[Row]:
    """A board's rows, ascending in clock, from the lines of its client's journal and its ledger."""
    by_clock: dict[float, list[Window]] = {}
    for line in journal:
        if line["kind"] == "profile":
            by_clock.setdefault(line["freq_hz"], []).append(_window(line, truth))
    top_hz = max(by_clock)
    return [_row(board, law, windows, top_hz, by_clock[top_hz]) for _, windows in sorted(by_clock.items())]


def _window(line: dict[str, Any], truth: Truth) -> Window:
    real = truth.between(line["start"], line["end"])
    return Window(
        freq_hz=line["freq_hz"],
        seconds=line["end"] - line["start"],
        samples=line["samples"],
        client_j=line["energy"]["energy_j"],
        ledger_j=real["true_j"],
        cpu_s=real["cpu_s"],
        lost_s=real["starved_s"],
        starved=line["starved"],
    )


def _row(board: str, law: BoardLaw, windows: list[Window], top_hz: float, top: list[Window]) -> Row:
    freq_hz = windows[0].freq_hz
    fed = [window for window in windows if not window.starved]
    seconds, cpu_s = sum(window.seconds for window in fed), sum(window.cpu_s for window in fed)
    tau_s = _tau_s(windows)
    return Row(
        board=board,
        freq_mhz=freq_hz / 1e6,
        windows=len(windows),
        starved=len(windows) - len(fed),
        seconds=seconds,
        samples_per_s=1.0 / tau_s,
        tau_ratio=tau_s / _tau_s(top),
        law_ratio=law.relative_tau(freq_hz) / law.relative_tau(top_hz),
        client_j=sum(window.client_j for window in fed),
        ledger_j=sum(window.ledger_j for window in fed),
        worst_energy_off=max((w.client_j / w.ledger_j - 1.0 for w in fed), key=abs, default=math.nan),
        lost_share=sum(window.lost_s for window in windows) / sum(window.seconds for window in windows),
        cpu_ms_per_sample=1e3 * cpu_s / sum(window.samples for window in fed) if fed else math.nan,
        share_off=cpu_s / seconds / law.share(freq_hz) - 1.0 if fed else math.nan,
    )


def _tau_s(windows: list[Window]) -> float:
    """Seconds a sample over all windows that were not starved; nan where there is none."""
    fed = [window for window in windows if not window.starved]
    return sum(w.seconds for w in fed) / sum(w.samples for w in fed) if fed else math.nan
