"""`fimi-calibrate sweep`: drives a board through its clocks and writes a line a window. The shell around `schedule`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_client.agent.graphs import needs_graphs
from edge_client.errors import HardwareError, SetupError
from edge_client.hardware.board import Board
from edge_client.hardware.sampler import Sampler
from edge_client.protocol import graphs
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import NetworkSpec
from edge_client.runtimes import Name
from edge_client.training import data
from tools.calibrate.driving import METER_PERIOD_S, alone, finished, minutes, open_board, say
from tools.calibrate.errors import CalibrateError
from tools.calibrate.measure import Bench, Terms
from tools.calibrate.rows import Row
from tools.calibrate.schedule import Cell, given_up, pick, planned, remaining, time_left_s
from tools.calibrate.sweep_file import append, read_sweep

MOST_CLOCKS = 8
"""So many operating points are swept unless told: of boards with more, some at even steps."""


@dataclass(frozen=True)
class Settings:
    """What the command line says. `opps_hz`, `cores` empty: choose."""

    root: Path
    data: Path
    out: Path
    window_s: float
    drop_first_s: float
    repeats: int
    tries: int
    seed: int
    network: str
    batch_size: int
    runtime: Name
    graphs: Path | None
    cores: tuple[str, ...]
    opps_hz: tuple[float, ...]


class Measures(Protocol):
    """What measures a cell."""

    async def measure(self, cell: Cell) -> Row:
        """One window."""


def sweep(settings: Settings) -> int:
    """Measure what is missing; returns the exit status. Whatever ends it, the board is as it was before."""
    with alone(settings.root):
        return _sweep(settings)


def _sweep(settings: Settings) -> int:
    samples = data.load(settings.data)
    board = _board(settings.root)
    opps_hz = _clocks(board, settings)
    cores = _cores(board, settings.cores)
    network = NetworkSpec(name=settings.network, image_shape=samples.image_shape, n_classes=samples.n_classes)
    same = {"network": settings.network, "batch_size": settings.batch_size, "runtime": settings.runtime}
    rows = read_sweep(settings.out, {**same, "board": board.name})
    cells = planned(opps_hz, cores, settings.repeats, settings.seed)
    terms = Terms(
        network=network,
        runtime=settings.runtime,
        graphs=_graphs(settings, network),
        data_path=str(settings.data.resolve()),
        local_samples=len(samples.labels),
        batch_size=settings.batch_size,
        window_s=settings.window_s,
        settle_s=settings.drop_first_s,
    )
    return asyncio.run(_drive(settings, board, terms, cells, list(rows)))


async def _drive(settings: Settings, board: Board, terms: Terms, cells: Sequence[Cell], rows: list[Row]) -> int:
    sampler = Sampler(board.meter, METER_PERIOD_S)
    bench = Bench(board, sampler, terms)
    if not await finished(take_all(bench, settings, cells, rows), board, sampler, bench.close):
        say(f"interrupted with {len(remaining(cells, rows, settings.tries))} windows left; the same command goes on")
        return 130
    lost = [cell for cell in given_up(cells, rows) if not cell.idle]
    for cell in lost:
        last = next(row for row in reversed(rows) if (row.freq_hz, row.cores) == (cell.freq_hz, cell.cores))
        say(f"{_name(cell)}, repeat {cell.repeat}: given up after {settings.tries} tries ({last.rejected})")
    say(f"{settings.out}: done; now: fimi-calibrate fit {settings.out} --out PROFILE.toml")
    return 0


async def take_all(bench: Measures, settings: Settings, cells: Sequence[Cell], rows: list[Row]) -> None:
    """Measure cells until none is left, each window a line in the file and in `rows`."""
    took: list[float] = []
    while left := remaining(cells, rows, settings.tries):
        cell = left[0]
        begun = time.monotonic()
        row = await bench.measure(cell)
        took.append(time.monotonic() - begun)
        append(settings.out, row)
        rows.append(row)
        left_s = time_left_s(remaining(cells, rows, settings.tries), settings.window_s, settings.drop_first_s, took)
        say(f"{len(cells) - len(left) + 1}/{len(cells)} {_name(cell)}: {_seen(row)}; {minutes(left_s)} left")


def _graphs(settings: Settings, network: NetworkSpec) -> str | None:
    """The file with the graphs that the runtime trains by, if it needs one; raises SetupError where it does not fit."""
    if not needs_graphs(settings.runtime, settings.network):
        return None
    shape = ",".join(map(str, network.image_shape))
    right = (
        f"give one of: fimi-server export-step --runtime {settings.runtime} --model {network.name} "
        f"--image-shape {shape} --classes {network.n_classes} --out DIR"
    )
    if settings.runtime == "tflite":
        right += f" --batch {settings.batch_size}"
    if settings.graphs is None:
        raise SetupError(f"--graphs is missing, runtime {settings.runtime} trains by them; {right}")
    try:
        bundle = graphs.unpack(settings.graphs.read_bytes())
    except OSError as error:
        raise SetupError(f"--graphs {settings.graphs}: {error.strerror}; {right}") from error
    except ProtocolError as error:
        raise SetupError(f"--graphs {settings.graphs}: {error}; {right}") from error
    if (bundle.runtime, bundle.network) != (settings.runtime, network):
        raise SetupError(f"--graphs {settings.graphs} is for {bundle.runtime} and {bundle.network}; {right}")
    return str(settings.graphs.resolve())


def _name(cell: Cell) -> str:
    if cell.freq_hz is None:
        return "idle"
    return f"{cell.freq_hz / 1e6:g} MHz, {cell.cores} core{'s' * (cell.cores != 1)}"


def _seen(row: Row) -> str:
    if row.idle:
        found = f"{row.power_w:.2f} W"
    else:
        found = f"{row.samples / row.duration_s:.1f} samples/s, {1e3 * row.energy_j / row.samples:.1f} mJ a sample"
    return f"{found}, rejected: {row.rejected}" if row.rejected else found


def _board(root: Path) -> Board:
    board = open_board(root)
    if not board.cpufreq.available_hz():
        raise HardwareError(
            "the clock of this board cannot be set; give this user write access to /sys/devices/system/cpu/cpufreq"
        )
    return board


def _clocks(board: Board, settings: Settings) -> tuple[float, ...]:
    there = board.cpufreq.available_hz()
    if not settings.opps_hz:
        return pick(there, MOST_CLOCKS)
    for freq_hz in settings.opps_hz:
        if freq_hz not in there:
            known = " ".join(f"{hz:.0f}" for hz in there)
            raise CalibrateError(f"--opps {freq_hz:.0f} is no operating point of this board; it has {known}")
    return tuple(sorted(set(settings.opps_hz)))


def _cores(board: Board, wanted: Sequence[str]) -> tuple[int, ...]:
    found = set()
    for text in wanted:
        count = board.cores if text == "all" else int(text) if text.isdecimal() else 0
        if not 1 <= count <= board.cores:
            raise CalibrateError(f"--cores {text!r}: this board has {board.cores}; give numbers from 1 on, or all")
        found.add(count)
    return tuple(sorted(found))
