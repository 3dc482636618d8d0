"""`fimi-calibrate radio-sweep`: drives a board's radio through its transmit powers and writes a line a window.

Each window sends as fast as the line takes it, from before the window to after it, so that the radio is on the air all
through: the window's length is its airtime.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_client.errors import HardwareError
from edge_client.hardware.board import Board
from edge_client.hardware.sampler import Sampler
from edge_client.hardware.txpower import IwTxPower, to_dbm, to_w
from tools.calibrate.driving import METER_PERIOD_S, alone, finished, minutes, open_board, say
from tools.calibrate.errors import CalibrateError
from tools.calibrate.radio_schedule import Sent, planned, remaining
from tools.calibrate.sending import LARGEST_PAYLOAD, SMALLEST_PAYLOAD, sending
from tools.calibrate.sweep_file import append_line, refuse_other_terms, text_so_far
from tools.calibrate.uploads import COLUMNS, Upload, read_uploads

HEADER = tuple(COLUMNS)
HIGHEST_DBM, STEP_DB, LEVELS = 20.0, 3.0, 5
"""Which powers are set unless told: five, each half of the one above, from 100 mW or the channel's limit down."""

ACCEPTED_DB = 0.5
"""How far the card may read back another power than it was told."""

LEAST_W = 1e-3
"""`iw` takes no less than 0 dBm."""

_IDLE_SETTLE_S = 2.0


@dataclass(frozen=True)
class RadioSettings:
    """What the command line says. `levels_w`, `payload_bytes` empty: choose."""

    root: Path
    to: tuple[str, int]
    out: Path
    interface: str | None
    levels_w: tuple[float, ...]
    payload_bytes: tuple[int, ...]
    window_s: float
    drop_first_s: float
    repeats: int
    tries: int
    seed: int


def radio_sweep(settings: RadioSettings) -> int:
    """Measure what is missing; returns the exit status. Whatever ends it, the card is as it was before."""
    with alone(settings.root):
        return _sweep(settings)


def _sweep(settings: RadioSettings) -> int:
    board = open_board(settings.root, settings.interface)
    card = board.tx
    if not isinstance(card, IwTxPower):
        raise HardwareError("there is no Wi-Fi card whose transmit power iw tells; name it with --interface")
    levels_w = _levels(settings.levels_w, card.limit_dbm())
    for size in settings.payload_bytes:
        if not SMALLEST_PAYLOAD <= size <= LARGEST_PAYLOAD:
            raise CalibrateError(f"--payload-bytes {size}: a segment has {SMALLEST_PAYLOAD} to {LARGEST_PAYLOAD} bytes")
    text = text_so_far(settings.out, HEADER)
    rows = [] if text is None else list(read_uploads(text, str(settings.out)))
    refuse_other_terms(settings.out, rows, {"board": board.name, "interface": card.interface})
    cells = planned(levels_w, settings.payload_bytes or (None,), settings.repeats, settings.seed)
    return asyncio.run(_drive(settings, board, card, cells, rows))


async def _drive(
    settings: RadioSettings, board: Board, card: IwTxPower, cells: Sequence[Sent], rows: list[Upload]
) -> int:
    sampler = Sampler(board.meter, METER_PERIOD_S)
    bench = RadioBench(settings, board, card, sampler)
    if not await finished(take_all(bench, settings, cells, rows), board, sampler, _nothing):
        say(f"interrupted with {len(remaining(cells, rows, settings.tries))} windows left; the same command goes on")
        return 130
    good = {row.tx_power_w for row in rows if not row.idle and not row.rejected}
    for level_w in sorted({cell.tx_power_w for cell in cells if cell.tx_power_w is not None} - good):
        say(f"{level_w:.4g} W: given up after {settings.tries} tries; the card reads back another power")
    say(f"{settings.out}: done; now: fimi-calibrate radio {settings.out} --out PROFILE.toml")
    return 0


async def _nothing() -> None:
    """The bench holds nothing between windows."""


async def take_all(bench: RadioBench, settings: RadioSettings, cells: Sequence[Sent], rows: list[Upload]) -> None:
    """Measure cells until none is left, each window a line in the file and in `rows`."""
    each_s = settings.window_s + settings.drop_first_s
    while left := remaining(cells, rows, settings.tries):
        row = await bench.measure(left[0])
        append_line(settings.out, HEADER, row)
        rows.append(row)
        left_s = each_s * len(remaining(cells, rows, settings.tries))
        say(f"{len(cells) - len(left) + 1}/{len(cells)} {_name(left[0])}: {_seen(row)}; {minutes(left_s)} left")


class RadioBench:
    """A board, its card and its sampler (running)."""

    def __init__(self, settings: RadioSettings, board: Board, card: IwTxPower, sampler: Sampler) -> None:
        self._settings, self._board, self._card, self._sampler = settings, board, card, sampler

    async def measure(self, cell: Sent) -> Upload:
        """One window; raises CalibrateError where nothing gets through, HardwareError where the meter is silent."""
        return await (self._idle(cell) if cell.tx_power_w is None else self._send(cell, cell.tx_power_w))

    async def _idle(self, cell: Sent) -> Upload:
        await asyncio.sleep(max(min(self._settings.drop_first_s, _IDLE_SETTLE_S), self._sampler.lag_s))
        start = time.monotonic()
        await asyncio.sleep(self._settings.window_s)
        return self._row(cell, start, time.monotonic())

    async def _send(self, cell: Sent, power_w: float) -> Upload:
        with self._card.hold(power_w) as accepted_w:
            async with sending(self._settings.to, cell.payload_bytes) as line:
                await asyncio.sleep(max(self._settings.drop_first_s, self._sampler.lag_s))
                frames, arrived, start = self._frames(), line.arrived_bytes(), time.monotonic()
                await asyncio.sleep(self._settings.window_s)
                arrived, end, after = line.arrived_bytes() - arrived, time.monotonic(), self._frames()
        if arrived <= 0:
            host, port = self._settings.to
            raise CalibrateError(
                f"--to {host}:{port}: nothing got through in {end - start:.0f} s at {power_w:.4g} W; give longer"
                " windows, or higher --levels-w"
            )
        heeded = accepted_w is not None and abs(to_dbm(accepted_w) - to_dbm(power_w)) <= ACCEPTED_DB
        counted = frames is not None and after is not None and after > frames
        return self._row(
            cell,
            start,
            end,
            bytes=arrived,
            tx_power_w=power_w,
            accepted_w=accepted_w,
            frames=after - frames if counted and after is not None and frames is not None else None,
            payload_bytes=cell.payload_bytes,
            rejected=None if heeded else "not_accepted",
        )

    def _row(self, cell: Sent, start: float, end: float, **about: Any) -> Upload:
        energy = self._sampler.energy(start, end, None)
        if energy.energy_j is None or energy.energy_j <= 0:
            raise HardwareError(f"the meter {energy.meter} read nothing in a window; see that it answers, then go on")
        return Upload(
            line=0,
            duration_s=end - start,
            energy_j=energy.energy_j,
            idle=cell.idle,
            repeat=cell.repeat,
            start=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            source="measured" if energy.source == "measured" else "modelled",
            boundary=energy.boundary,
            meter=energy.meter,
            uncertainty=energy.uncertainty,
            board=self._board.name,
            interface=self._card.interface,
            kernel=os.uname().release,
            **{"bytes": 0, **about},
        )

    def _frames(self) -> int | None:
        """Frames that the interface has sent, everybody's; None where nothing counts them."""
        value = self._board.fs.number(f"sys/class/net/{self._card.interface}/statistics/tx_packets")
        return None if value is None else int(value)


def _levels(wanted: Sequence[float], limit_dbm: float | None) -> tuple[float, ...]:
    """Ascending; raises CalibrateError where the channel does not allow one."""
    highest_dbm = HIGHEST_DBM if limit_dbm is None else min(limit_dbm, HIGHEST_DBM)
    if not wanted:
        return tuple(to_w(highest_dbm - STEP_DB * k) for k in reversed(range(LEVELS)))
    for level_w in wanted:
        if limit_dbm is not None and level_w > to_w(limit_dbm) * (1 + 1e-3):
            raise CalibrateError(
                f"--levels-w {level_w:g}: is above the {to_w(limit_dbm):.3g} W that the channel allows; give less"
            )
        if level_w < LEAST_W:
            raise CalibrateError(f"--levels-w {level_w:g}: is below {LEAST_W} W; give the watts that are radiated")
    return tuple(sorted(set(wanted)))


def _name(cell: Sent) -> str:
    if cell.tx_power_w is None:
        return "idle"
    size = "" if cell.payload_bytes is None else f", {cell.payload_bytes} bytes a segment"
    return f"{1e3 * cell.tx_power_w:.3g} mW{size}"


def _seen(row: Upload) -> str:
    found = f"{row.power_w:.2f} W"
    if not row.idle:
        found += f", {8 * row.bytes / row.duration_s / 1e6:.3g} Mbit/s, {1e6 * row.energy_j / row.bytes:.3g} J a MB"
    return f"{found}, rejected: {row.rejected}" if row.rejected else found
