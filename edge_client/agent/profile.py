"""Measures what a sample costs on this board, with the real training step: the profile that the planner uses.

First an idle window; then, at each operating point (or once at the board's own clock, where none is asked for),
training through the settling time (the first step at a clock is never a typical one), and training through the window.
Seconds and joules per sample come from the same stretch of time, which begins with a batch and ends with one.

Where the times alone speak against the board, the clocks in question are measured once more at the end, and the second
windows stand in the profile: what had disturbed a first one is gone from it, and a board that lies says the same again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
import numpy as np

from edge_client.accounting import mean_power_w
from edge_client.agent.obedience import Job, Obedience
from edge_client.agent.window import Journal, watched
from edge_client.errors import HardwareError
from edge_client.hardware.board import Board
from edge_client.hardware.sampler import Sampler
from edge_client.protocol.messages import OppPoint, ProfileReport, ProfileRequest
from edge_client.training import data, frames
from edge_client.training.worker_client import WorkerClient

log = logging.getLogger(__name__)

MIN_BATCHES = 5
"""Batches that a window must hold, however slow the board, so that a cut batch weighs nothing."""

LEARNING_RATE = 1e-3
"""Small: the weights trained here are thrown away, and must not diverge before that."""


TRIAL_S = 3.0
"""Of training with each runtime that a board may choose from."""

TRIAL_SETTLE_S = 1.0


async def measure(
    device: str,
    request: ProfileRequest,
    n_samples: int,
    board: Board,
    sampler: Sampler,
    worker: WorkerClient,
    journal: Journal,
    obedience: Obedience,
) -> ProfileReport:
    """Idle power and one point per frequency asked for, judged together; at most two windows for each.

    The worker has the network already."""
    await worker.load(None)
    await asyncio.sleep(max(min(request.settle_s, 1.0), sampler.lag_s))  # a slow meter still shows what was before
    async with watched(board, None) as window:
        await asyncio.sleep(request.window_s)
    idle = sampler.energy(window.start, window.end, None)
    idle = msgspec.structs.replace(idle, idle_power_w=mean_power_w(idle))
    journal.write("idle", window.start, window.end, idle)
    indices = data.batches(n_samples, 1, request.batch_size, seed=0)
    by = board.verified_by
    first, points = await measured_twice(
        request.freqs_hz or (None,),
        partial(_measure_point, request, indices, board, sampler, worker, journal),
        lambda points: obedience.doubtful(points, by),
    )
    judged = obedience.profiled(Job(request.network, request.batch_size), points, by, first)
    return ProfileReport(device=device, run=request.run, idle=idle, points=judged, temperature_c=board.temperature_c())


async def try_out(
    request: ProfileRequest, n_samples: int, board: Board, sampler: Sampler, worker: WorkerClient, journal: Journal
) -> OppPoint:
    """A few seconds of training with the worker as it is, at the highest clock that is asked for."""
    # a slow meter still shows the idle board, and says little in a short window
    brief = msgspec.structs.replace(
        request, window_s=max(TRIAL_S, 3 * sampler.lag_s), settle_s=max(TRIAL_SETTLE_S, sampler.lag_s)
    )
    indices = data.batches(n_samples, 1, request.batch_size, seed=0)
    top_hz = max(request.freqs_hz, default=None)
    return await _measure_point(brief, indices, board, sampler, worker, journal, top_hz, kind="trial")


async def measured_twice(
    freqs_hz: Sequence[float | None],
    measure_at: Callable[[float | None], Awaitable[OppPoint]],
    doubtful: Callable[[Sequence[OppPoint]], Sequence[float]],
) -> tuple[list[OppPoint], list[OppPoint]]:
    """Each clock in turn, then those that are `doubtful` once more: the points as at first, and as they stand now."""
    first = [await measure_at(freq_hz) for freq_hz in freqs_hz]
    if not (again_hz := doubtful(first)):
        return first, first
    told = ", ".join(f"{freq_hz / 1e6:.0f}" for freq_hz in again_hz)
    log.info("the work took as good as the same time at %s MHz: measured again", told)
    again = {freq_hz: await measure_at(freq_hz) for freq_hz in freqs_hz if freq_hz in again_hz}
    return first, [again.get(point.freq_hz, point) for point in first]


async def _measure_point(
    request: ProfileRequest,
    indices: list[np.ndarray],
    board: Board,
    sampler: Sampler,
    worker: WorkerClient,
    journal: Journal,
    freq_hz: float | None,
    kind: str = "profile",
) -> OppPoint:
    if freq_hz is not None and not board.cpufreq.available_hz():
        raise HardwareError("the clock of this board cannot be set: no cpufreq policy that this user may write")
    with contextlib.nullcontext() if freq_hz is None else board.cpufreq.hold(freq_hz):
        async with watched(board, freq_hz) as window:
            await worker.train(_command(indices, request.settle_s, 1), lambda _: None)
            ends: list[frames.Progress] = []
            window.begin()
            done = await worker.train(_command(indices, request.window_s, MIN_BATCHES), ends.append)
            window.finish()
    samples = sum(progress.samples for progress in ends)
    energy = sampler.energy(done.started, done.t, None)
    duration_s, starved = done.t - done.started, window.starved
    journal.write(kind, done.started, done.t, energy, freq_hz=freq_hz, samples=samples, starved=starved)
    return OppPoint(
        freq_hz=freq_hz,
        verified_hz=window.verified_hz,
        s_per_sample=duration_s / samples,
        j_per_sample=energy.energy_j / samples if energy.energy_j is not None else None,
        samples=samples,
        duration_s=duration_s,
        uncertainty=energy.uncertainty,
        starved=starved,
        limits=window.limits or (),
    )


def _command(indices: list[np.ndarray], for_s: float, min_batches: int) -> frames.Train:
    return frames.Train(
        batches=tuple(batch.tobytes() for batch in indices),
        learning_rate=LEARNING_RATE,
        momentum=0.9,
        weight_decay=0.0,
        clip_norm=1.0,
        for_s=for_s,
        min_batches=min_batches,
    )
