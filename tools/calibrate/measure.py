"""One window on a board: idle, or training with the client's own worker at a held clock."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from dataclasses import dataclass, replace
from typing import Any

from edge_client.agent.window import Window, watched
from edge_client.errors import HardwareError
from edge_client.hardware.board import Board
from edge_client.hardware.sampler import Sampler
from edge_client.protocol.messages import EnergyReading, NetworkSpec
from edge_client.training import data, frames
from edge_client.training.worker_client import WorkerClient
from tools.calibrate.rows import Row
from tools.calibrate.schedule import Cell
from tools.calibrate.windows import faults

MIN_BATCHES = 5
LEARNING_RATE = 1e-3
"""Small: the weights trained here are thrown away, and must not diverge before that."""


@dataclass(frozen=True)
class Terms:
    """What every window of a sweep has in common; seconds."""

    network: NetworkSpec
    runtime: str
    graphs: str | None
    data_path: str
    local_samples: int
    batch_size: int
    window_s: float
    settle_s: float


class Bench:
    """A board, its sampler (running) and one worker at a time; `close` ends the worker."""

    def __init__(self, board: Board, sampler: Sampler, terms: Terms) -> None:
        self._board, self._sampler, self._terms = board, sampler, terms
        self._worker: WorkerClient | None = None
        self._threads = 0
        batches = data.batches(terms.local_samples, 1, terms.batch_size, seed=0)
        self._batches = tuple(batch.tobytes() for batch in batches)

    async def measure(self, cell: Cell) -> Row:
        """One window, with what speaks against it in `rejected`; raises FimiClientError."""
        row = await (self._idle(cell) if cell.idle else self._train(cell))
        return replace(row, rejected=" ".join(faults(row)) or None)

    async def close(self) -> None:
        """End the worker."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    async def _idle(self, cell: Cell) -> Row:
        await asyncio.sleep(min(self._terms.settle_s, 2.0))
        async with watched(self._board, None) as window:
            start_c = self._board.temperature_c()
            await asyncio.sleep(self._terms.window_s)
        energy = self._energy(window.start, window.end)
        return self._row(cell, window, energy, 0, window.duration_s, start_c)

    async def _train(self, cell: Cell) -> Row:
        assert cell.freq_hz is not None and cell.cores is not None
        worker = await self._worker_with(cell.cores)
        await worker.load(None)
        with self._board.cpufreq.hold(cell.freq_hz):
            async with watched(self._board, cell.freq_hz) as window:
                await worker.train(self._command(self._terms.settle_s, 1), lambda _: None)
                ends: list[frames.Progress] = []
                start_c = self._board.temperature_c()
                window.begin()
                done = await worker.train(self._command(self._terms.window_s, MIN_BATCHES), ends.append)
                window.finish()
        samples = sum(progress.samples for progress in ends)
        energy = self._energy(done.started, done.t)
        return self._row(cell, window, energy, samples, done.t - done.started, start_c)

    def _row(
        self,
        cell: Cell,
        window: Window,
        energy: EnergyReading,
        samples: int,
        duration_s: float,
        start_c: float | None,
    ) -> Row:
        terms, board = self._terms, self._board
        if energy.energy_j is None or energy.energy_j <= 0:
            raise HardwareError(f"the meter {energy.meter} read nothing in a window; see that it answers, then go on")
        outcome = window.outcome(samples, energy)
        about: dict[str, Any] = {} if cell.idle else {"verified_hz": window.verified_hz}
        if not cell.idle:
            about |= {"violation_s": outcome.violation_s, "network": terms.network.name}
            about |= {"batch_size": terms.batch_size, "runtime": terms.runtime}
        return Row(
            line=0,
            freq_hz=cell.freq_hz,
            samples=samples,
            duration_s=duration_s,
            energy_j=energy.energy_j,
            cores=cell.cores,
            starved=window.starved,
            throttled=outcome.throttled,
            idle=cell.idle,
            temperature_start_c=start_c,
            temperature_c=board.temperature_c(),
            repeat=cell.repeat,
            start=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            source="measured" if energy.source == "measured" else "modelled",
            boundary=energy.boundary,
            meter=energy.meter,
            uncertainty=energy.uncertainty,
            board=board.name,
            kernel=os.uname().release,
            governor=board.fs.read("sys/devices/system/cpu/cpufreq/policy0/scaling_governor"),
            **about,
        )

    def _energy(self, start: float, end: float) -> EnergyReading:
        return self._sampler.energy(start, end, None)

    async def _worker_with(self, threads: int) -> WorkerClient:
        """A worker of so many threads; another number takes another process, for libraries read it as they start."""
        if self._worker is None or self._threads != threads:
            await self.close()
            terms = self._terms
            self._worker, self._threads = WorkerClient(threads), threads
            await self._worker.start(
                frames.Begin(
                    network=terms.network,
                    runtime=terms.runtime,
                    threads=threads,
                    data=terms.data_path,
                    graphs=terms.graphs,
                )
            )
        return self._worker

    def _command(self, for_s: float, min_batches: int) -> frames.Train:
        return frames.Train(
            batches=self._batches,
            learning_rate=LEARNING_RATE,
            momentum=0.9,
            weight_decay=0.0,
            clip_norm=1.0,
            for_s=for_s,
            min_batches=min_batches,
        )
