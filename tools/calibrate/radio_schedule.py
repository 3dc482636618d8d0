"""Which windows a sweep of the radio still has to measure, in which order: as `schedule` has it for clocks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.calibrate.schedule import in_order, still_to_do
from tools.calibrate.uploads import Upload


@dataclass(frozen=True)
class Sent:
    """One window to measure; an idle one has neither power nor payload. `payload_bytes` None: as large as it goes."""

    tx_power_w: float | None
    payload_bytes: int | None
    repeat: int

    @property
    def idle(self) -> bool:
        return self.tx_power_w is None


def planned(levels_w: Sequence[float], payloads: Sequence[int | None], repeats: int, seed: int) -> tuple[Sent, ...]:
    """All windows in order: every repeat visits all once, shuffled; an idle window before every few."""
    turns = [
        [Sent(power_w, payload, repeat) for power_w in levels_w for payload in payloads]
        for repeat in range(1, repeats + 1)
    ]
    return in_order(turns, lambda repeat: Sent(None, None, repeat), seed)


def remaining(cells: Iterable[Sent], rows: Sequence[Upload], tries: int) -> tuple[Sent, ...]:
    """Of `cells` those without a good window among `rows` that were not tried `tries` times; rejected ones last."""
    return still_to_do(cells, [(cell_of(row), bool(row.rejected)) for row in rows], tries)


def cell_of(row: Upload) -> Sent:
    """The cell that a row of a sweep's own file belongs to."""
    return Sent(None if row.idle else row.tx_power_w, None if row.idle else row.payload_bytes, row.repeat or 0)
