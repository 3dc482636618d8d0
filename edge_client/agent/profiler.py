"""Answers a request for a profile: settles on a runtime, measures with it, keeps what later work needs of it."""

from __future__ import annotations

from functools import partial

import msgspec

from edge_client.agent import profile
from edge_client.agent.books import IdleFloor
from edge_client.agent.known_work import KnownWork, circumstances
from edge_client.agent.obedience import Obedience
from edge_client.agent.setup import Setup
from edge_client.agent.trainers import Trainers
from edge_client.agent.work import Work
from edge_client.protocol.messages import ProfileReport, ProfileRequest


class Profiler:
    """One board's."""

    def __init__(self, setup: Setup, trainers: Trainers, work: Work) -> None:
        self._setup = setup
        self._trainers = trainers
        self._work = work
        self._idle = IdleFloor(setup.state_dir / "idle.json", setup.board.meter.info if setup.board.meter else None)
        work.idle_power_w = self._idle.read()

    async def measure(self, request: ProfileRequest) -> ProfileReport:
        """The report; raises TrainingError, StorageError or HardwareError."""
        w, n_samples = self._work, self._setup.device.local_samples
        trial = partial(profile.try_out, request, n_samples, w.board, w.sampler, w.worker, w.journal)
        before = self._trainers.likely
        kept = await self._trainers.settle(request.network, request.batch_size, request.graphs, trial)
        if kept.runtime != before:
            w.obedience = obedience_of(self._setup, kept.runtime)
        await w.worker.set_shard(None)
        report = await profile.measure(
            self._setup.device.name, request, n_samples, w.board, w.sampler, w.worker, w.journal, w.obedience
        )
        w.idle_power_w = report.idle.idle_power_w
        self._idle.keep(w.idle_power_w)
        return msgspec.structs.replace(report, runtime=kept.runtime, trials=kept.trials)


def obedience_of(setup: Setup, runtime: str) -> Obedience:
    """What is known of the board's clocks from work with this runtime."""
    now = circumstances(setup.board, runtime, setup.threads, setup.cpus)
    known = KnownWork(setup.state_dir / "known_work.json", now)
    return Obedience(known.read(), known.keep)
