"""`fimi-client doctor --trial`: a few seconds of training with each runtime, at the board's own clock.

With graphs of VGG-9 that come with the client, so that it can be done before any server is met. What a run trains may
differ: enrolment tries its own network, and chooses by that.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from edge_client.agent import choice, profile
from edge_client.agent.trainers import tried
from edge_client.agent.window import Journal
from edge_client.config import ClientConfig
from edge_client.doctor.checks import Check
from edge_client.hardware.board import Board
from edge_client.hardware.sampler import Sampler
from edge_client.protocol.graphs import RUNTIMES
from edge_client.protocol.messages import NetworkSpec, ProfileRequest, RuntimeTrial
from edge_client.runtimes import Name
from edge_client.training import frames
from edge_client.training.worker_client import WorkerClient

NETWORK = NetworkSpec(name="vgg9", image_shape=(32, 32, 3), n_classes=10)
BATCH = 16
SAMPLES = 64
SHIPPED = Path(__file__).parents[1] / "graphs"
"""Made by: fimi-server export-step --model vgg9 --runtime RUNTIME [--batch 16]."""


def trials(config: ClientConfig, board: Board, candidates: Sequence[Name]) -> tuple[RuntimeTrial, ...]:
    """One for each runtime for which there is something to train with."""
    return asyncio.run(_trials(config, board, candidates))


async def _trials(config: ClientConfig, board: Board, candidates: Sequence[Name]) -> tuple[RuntimeTrial, ...]:
    found = []
    sampler = Sampler(board.meter, config.meter_period_s)
    sampler.start()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            images = np.random.default_rng(0).integers(0, 256, (SAMPLES, *NETWORK.image_shape), dtype=np.uint8)
            np.savez(folder / "d.npz", x=images, y=np.arange(SAMPLES) % NETWORK.n_classes, n_classes=NETWORK.n_classes)
            request = ProfileRequest(
                run="doctor", network=NETWORK, batch_size=BATCH, freqs_hz=(), window_s=profile.TRIAL_S, settle_s=0.0
            )
            for runtime in candidates:
                graphs = SHIPPED / f"vgg9-{runtime}.fimi"
                if runtime in RUNTIMES and not graphs.exists():
                    continue
                begin = frames.Begin(
                    network=NETWORK,
                    runtime=runtime,
                    threads=config.n_threads,
                    data=str(folder / "d.npz"),
                    cpus=config.cpu_list,
                    samples=name,
                    graphs=str(graphs) if runtime in RUNTIMES else None,
                    bfloat16=config.bfloat16 and runtime == "torch",
                )
                worker = WorkerClient(config.n_threads)
                measure = partial(
                    profile.try_out, request, SAMPLES, board, sampler, worker, Journal(folder / "windows.jsonl")
                )
                found.append(await tried(begin, worker, measure))
    finally:
        sampler.stop()
    return tuple(found)


def checks(found: Sequence[RuntimeTrial]) -> Iterator[Check]:
    """A line each, and which would be chosen."""
    trained = [trial for trial in found if trial.s_per_sample is not None]
    chosen = choice.best(trained) if len(trained) > 1 else None
    for trial in found:
        if trial.s_per_sample is None:
            yield Check(name=f"trial {trial.runtime}", status="degraded", message=trial.problem)
            continue
        joules = "" if trial.j_per_sample is None else f", {trial.j_per_sample * 1e3:.3g} mJ"
        best = "; the best here" if trial.runtime == chosen else ""
        message = f"VGG-9, batches of {BATCH}: {trial.s_per_sample * 1e3:.3g} ms{joules} a sample{best}"
        yield Check(name=f"trial {trial.runtime}", status="ok", message=message)
