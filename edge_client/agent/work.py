"""One task's work on the board: train it segment by segment under the plan, then send the change of the weights.

shard and model into the worker -> for each segment: hold the clock, train its batches, measure -> weights
-> change against the global model, float16 -> chunks, at the planned power and rate -> Update
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_client.agent.obedience import Job, Obedience
from edge_client.agent.share import Share
from edge_client.agent.upload import Uploader
from edge_client.agent.window import Journal, watched
from edge_client.errors import HardwareError, TrainingError
from edge_client.hardware.board import Board
from edge_client.hardware.sampler import Sampler
from edge_client.protocol.messages import (
    EnergyReading,
    RadioOutcome,
    Segment,
    SegmentOutcome,
    Task,
    Update,
    UploadOutcome,
)
from edge_client.training import data, frames
from edge_client.training.worker_client import WorkerClient

log = logging.getLogger(__name__)

_SETTLE_POLLS = 2  # before an upload's window, for the meter still shows the training; the task's window has it all


@dataclass(frozen=True)
class Trained:
    """What a training brought: the packed change of the weights, and its measurements; `seen`: how good the global
    model was on the device's own samples, where that was asked for."""

    change: bytes
    segments: tuple[SegmentOutcome, ...]
    compute: EnergyReading
    samples: int
    loss: float
    seen: frames.Evaluated | None


class Work:
    """The board, its worker and its sensors, put to work. `samples_done` and `freq_hz` are for heartbeats."""

    def __init__(
        self,
        device: str,
        board: Board,
        sampler: Sampler,
        worker: WorkerClient,
        journal: Journal,
        obedience: Obedience | None = None,
    ) -> None:
        self.device = device
        self.board = board
        self.sampler = sampler
        self.worker = worker
        self.journal = journal
        self.idle_power_w: float | None = None
        self.samples_done = 0
        self.freq_hz: float | None = None
        self.leased = True
        self.obedience = obedience or Obedience()

    def release(self) -> None:
        """The lease ran out: the board's own settings now, and for the rest of the task."""
        self.leased = False
        self.board.restore()

    async def train(self, task: Task, model: Path, listing: bytes | None) -> Trained:
        """Train all segments; raises TrainingError where task, model and shard do not fit."""
        held = await self.worker.set_shard(listing)
        if held != task.local_samples + task.synth_samples:
            raise TrainingError(
                f"the shard makes it {held} samples, the task says {task.local_samples + task.synth_samples}"
            )
        await self.worker.load(model)
        seen = await self.worker.evaluate() if task.evaluate else None
        order = data.batches(held, task.local_epochs, task.batch_size, task.seed)
        dealt = data.assign(order, [segment.samples for segment in task.segments])
        loss_sum, outcomes = 0.0, []
        start = time.monotonic()
        for segment, batches in zip(task.segments, dealt, strict=True):
            if batches:
                outcome, loss = await self._train_segment(task, segment, batches)
                outcomes.append(outcome)
                loss_sum += loss
        compute = self.sampler.energy(start, time.monotonic(), self.idle_power_w)
        return Trained(
            change=await self.worker.change(),
            segments=tuple(outcomes),
            compute=compute,
            samples=self.samples_done,
            loss=loss_sum / max(1, self.samples_done),
            seen=seen,
        )

    async def _train_segment(
        self, task: Task, segment: Segment, batches: list[np.ndarray]
    ) -> tuple[SegmentOutcome, float]:
        """One segment: its outcome, and the sum of losses over its samples."""
        command = frames.Train(
            batches=tuple(batch.tobytes() for batch in batches),
            learning_rate=task.learning_rate,
            momentum=task.momentum,
            weight_decay=task.weight_decay,
            clip_norm=task.clip_norm,
            prox=task.prox,
        )
        before, loss_sum = self.samples_done, 0.0

        def on_progress(progress: frames.Progress) -> None:
            nonlocal loss_sum
            self.samples_done += progress.samples
            loss_sum += progress.loss * progress.samples

        with self._hold(segment.freq_hz) as refused:
            async with watched(self.board, segment.freq_hz) as window:
                window.begin()
                await self.worker.train(command, on_progress)
                window.finish()
        energy = self.sampler.energy(window.start, window.end, self.idle_power_w)
        job = Job(task.network, task.batch_size)
        outcome = window.outcome(self.samples_done - before, energy, self.obedience, job, refused=refused)
        self._report(outcome)
        self.journal.write("segment", window.start, window.end, energy, run=task.run, round=task.round, outcome=outcome)
        return outcome, loss_sum

    @contextlib.contextmanager
    def _hold(self, freq_hz: float | None) -> Iterator[bool]:
        """Hold the clock if the plan says one and this board can; where it is refused, train on and say so (True)."""
        refused = False
        with contextlib.ExitStack() as stack:
            if freq_hz is not None and self.leased:
                try:
                    stack.enter_context(self.board.cpufreq.hold(freq_hz))
                except HardwareError as error:
                    refused = True
                    log.warning("the clock could not be held at %.0f MHz: %s", freq_hz / 1e6, error)
            self.freq_hz = freq_hz
            try:
                yield refused
            finally:
                self.freq_hz = None

    def _report(self, outcome: SegmentOutcome) -> None:
        """Say in the log how the board failed its clock, and what held it down."""
        if outcome.finding is not None and outcome.requested_hz is not None:
            seen_hz = outcome.verified_hz if outcome.verified_hz is not None else outcome.accepted_hz
            told = f"{seen_hz / 1e6:.0f} MHz by {outcome.verified_by or 'the kernel'}" if seen_hz else "not known"
            log.warning("the clock was asked to be %.0f MHz and was %s: %s",
                        outcome.requested_hz / 1e6, told, outcome.finding)  # fmt: skip
        if outcome.limits:
            log.warning("the clock was held down: %s", ", ".join(outcome.limits))

    async def upload(self, task: Task, trained: Trained, uploader: Uploader, share: Share) -> Update:
        """Send the change at the planned power and rate (which `share` holds); the update to say afterwards."""
        with self._hold_tx(task.tx_power_w) as accepted_w:
            await asyncio.sleep(_SETTLE_POLLS * self.sampler.period_s)
            bytes_before = self.board.interface_bytes()
            share.begin()
            start = time.monotonic()
            await uploader.run()
            end = time.monotonic()
            kept = share.kept(uploader.ref.size_bytes, end - start)
            link, bytes_after = await asyncio.to_thread(self.board.link), self.board.interface_bytes()
        energy = self.sampler.energy(start, end, self.idle_power_w)
        grown = None if bytes_before is None or bytes_after is None else bytes_after - bytes_before
        radio = RadioOutcome(
            requested_w=task.tx_power_w,
            accepted_w=accepted_w,
            capability=self.board.tx.capability,
            signal_dbm=link.signal_dbm,
            link_bits_per_s=link.bits_per_s,
            interface_bytes=grown if grown is None or grown >= 0 else None,  # below: the card was made anew
            airtime_s=uploader.bits / link.bits_per_s if link.bits_per_s else None,
            share=kept.share,
            requested_bits_per_s=share.bits_per_s,
            accepted_bits_per_s=kept.accepted_bits_per_s,
            verified_bits_per_s=kept.verified_bits_per_s,
        )
        self.journal.write(
            "upload", start, end, energy, run=task.run, round=task.round, bits=uploader.bits, radio=radio
        )
        return Update(
            device=self.device,
            run=task.run,
            round=task.round,
            weights=uploader.ref,
            samples=trained.samples,
            train_loss=trained.loss,
            segments=trained.segments,
            compute=trained.compute,
            upload=UploadOutcome(bits=uploader.bits, duration_s=end - start, energy=energy, radio=radio),
            local_accuracy=None if trained.seen is None else trained.seen.accuracy,
            local_loss=None if trained.seen is None else trained.seen.loss,
        )

    @contextlib.contextmanager
    def _hold_tx(self, power_w: float | None) -> Iterator[float | None]:
        with contextlib.ExitStack() as stack:
            held = power_w is not None and self.leased and self.board.tx.capability != "unsupported"
            yield stack.enter_context(self.board.tx.hold(power_w)) if held and power_w is not None else None
