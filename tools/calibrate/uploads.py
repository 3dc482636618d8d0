"""An uploads' CSV as windows. Pure; the columns are documented in tools/README.md.

A window is one stretch of sending at one transmit power, or an idle one. Three columns make a sheet by hand: bytes,
duration_s, energy_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from tools.calibrate.csv_text import Column, Line, flag, number, parse, whole
from tools.calibrate.errors import CalibrateError
from tools.calibrate.rows import BOUNDARIES, SOURCES, one_of, refuse_watts

COLUMNS: dict[str, Column] = {
    "bytes": Column(whole, required=True),
    "duration_s": Column(number, required=True),
    "energy_j": Column(number, required=True),
    "tx_power_w": Column(number),
    "airtime_s": Column(number),
    "frames": Column(whole),
    "idle": Column(flag),
    "payload_bytes": Column(whole),
    "accepted_w": Column(number),
    "repeat": Column(whole),
    "start": Column(str),
    "source": one_of(*SOURCES),
    "boundary": one_of(*BOUNDARIES),
    "meter": Column(str),
    "uncertainty": Column(number),
    "board": Column(str),
    "interface": Column(str),
    "kernel": Column(str),
    "rejected": Column(str),
}


@dataclass(frozen=True)
class Upload:
    """One window; None where its line does not say. `line` is its place in the file.

    `tx_power_w` is what was asked for, `accepted_w` what was read back; `payload_bytes` the size of one send, `frames`
    what the interface counted.
    """

    line: int
    bytes: int
    duration_s: float
    energy_j: float
    tx_power_w: float | None = None
    airtime_s: float | None = None
    frames: int | None = None
    idle: bool = False
    payload_bytes: int | None = None
    accepted_w: float | None = None
    repeat: int | None = None
    start: str | None = None
    source: Literal["measured", "modelled"] | None = None
    boundary: Literal["board", "soc", "cpu_package", "wall"] | None = None
    meter: str | None = None
    uncertainty: float | None = None
    board: str | None = None
    interface: str | None = None
    kernel: str | None = None
    rejected: str | None = None

    @property
    def power_w(self) -> float:
        return self.energy_j / self.duration_s


def read_uploads(text: str, source: str) -> tuple[Upload, ...]:
    """All windows as they stand; raises CalibrateError."""
    sheet = parse(text, source, COLUMNS)
    found = tuple(_upload(line, f"{source}: line {line.number}") for line in sheet.lines)
    for name in ("tx_power_w", "airtime_s"):
        _refuse_blanks([one for one in found if not one.idle], name, source)
    return found


def _upload(line: Line, where: str) -> Upload:
    cells = dict(line.cells)
    for name in ("duration_s", "energy_j", *(() if cells.get("idle") else ("bytes",))):
        if not cells.get(name):
            raise CalibrateError(f"{where}: {name} is blank or 0; give what was measured")
    cells = {"bytes": 0, **cells}
    if (airtime_s := cells.get("airtime_s")) is not None and not 0 < airtime_s <= 1.001 * cells["duration_s"]:
        raise CalibrateError(f"{where}: airtime_s {airtime_s:g} is 0 or above duration_s; give the seconds on the air")
    refuse_watts(cells, where)
    known = {field.name for field in fields(Upload)}
    return Upload(line=line.number, **{name: value for name, value in cells.items() if name in known})


def _refuse_blanks(uploads: Sequence[Upload], name: str, source: str) -> None:
    """A column is filled in every line of upload, or in none."""
    blank = [one for one in uploads if getattr(one, name) is None]
    if blank and len(blank) < len(uploads):
        raise CalibrateError(f"{source}: line {blank[0].line}: {name} is blank; fill it, or drop the column")
