"""How this board trains: which runtime, with which graphs, and what the worker is told to begin with."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from edge_client.agent.choice import Choice, Kept, Terms
from edge_client.agent.graphs import Graphs, needs_graphs
from edge_client.agent.setup import Setup
from edge_client.errors import StorageError, TrainingError
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import GraphOffer, NetworkSpec, OppPoint, RuntimeTrial
from edge_client.runtimes import HERE, Name
from edge_client.training import frames
from edge_client.training.worker_client import WorkerClient

log = logging.getLogger(__name__)


async def tried(begin: frames.Begin, worker: WorkerClient, measure: Callable[[], Awaitable[OppPoint]]) -> RuntimeTrial:
    """What `measure()` finds while the worker trains as `begin` says; afterwards there is no process."""
    try:
        await worker.start(begin)
        await worker.set_shard(None)
        await worker.load(None)
        point = await measure()
    except TrainingError as error:
        return failed(begin.runtime, error)
    finally:
        await worker.stop()  # what one runtime holds of memory is not the next one's burden
    return RuntimeTrial(
        runtime=begin.runtime,
        s_per_sample=point.s_per_sample,
        j_per_sample=point.j_per_sample,
        samples=point.samples,
        duration_s=point.duration_s,
        uncertainty=point.uncertainty,
    )


def failed(runtime: str, error: Exception) -> RuntimeTrial:
    """A trial that came to nothing."""
    log.warning("runtime %s does not train here: %s", runtime, error)
    return RuntimeTrial(
        runtime=runtime, s_per_sample=None, j_per_sample=None, samples=0, duration_s=0.0, problem=str(error)
    )


class Trainers:
    """One board's, with one worker that is begun as they say."""

    def __init__(self, setup: Setup, graphs: Graphs, worker: WorkerClient) -> None:
        self._setup = setup
        self._graphs = graphs
        self._worker = worker
        self._choice = Choice(setup.state_dir / "runtime.json")

    @property
    def likely(self) -> Name:
        """The runtime that was chosen last, or the one that is preferred where none was."""
        return self._choice.likely(self._setup.runtimes)

    async def prepare(self, network: NetworkSpec, offers: Sequence[GraphOffer]) -> frames.Begin:
        """What the worker is to begin with, its graphs on disk; raises TrainingError where none are to be had."""
        return await self._begin(self._choice.likely(self._able(network, offers)), network, offers)

    async def settle(
        self,
        network: NetworkSpec,
        batch_size: int,
        offers: Sequence[GraphOffer],
        measure: Callable[[], Awaitable[OppPoint]],
    ) -> Kept:
        """Choose a runtime, and have the worker begun with it. `measure()` times it as it then is."""

        async def attempt(name: Name) -> RuntimeTrial:
            try:
                begin = await self._begin(name, network, offers)
            except (TrainingError, StorageError, ProtocolError) as error:
                return failed(name, error)
            return await tried(begin, self._worker, measure)

        able = self._able(network, offers)
        kept = await self._choice.settle(able, self._terms(able, network, batch_size), attempt)
        await self._worker.start(await self._begin(kept.runtime, network, offers))
        return kept

    def _able(self, network: NetworkSpec, offers: Sequence[GraphOffer]) -> tuple[Name, ...]:
        """The runtimes that this server has graphs for, or that need none; where there is none, all: their failure says
        what is missing."""
        offered = {offer.runtime for offer in offers}
        able = tuple(name for name in self._setup.runtimes if name in offered or not needs_graphs(name, network.name))
        return able or self._setup.runtimes

    async def _begin(self, runtime: Name, network: NetworkSpec, offers: Sequence[GraphOffer]) -> frames.Begin:
        path = await self._graphs.file(runtime, network.name, offers)
        return self._setup.begin(network, runtime, path)

    def _terms(self, able: tuple[Name, ...], network: NetworkSpec, batch_size: int) -> Terms:
        setup = self._setup
        return Terms(
            board=setup.board.name,
            meter=setup.board.meter.info.name if setup.board.meter else "none",
            network=network,
            batch_size=batch_size,
            threads=setup.threads,
            bfloat16=setup.bfloat16,
            memory_bytes=setup.memory_bytes,
            cpus=setup.cpus,
            versions=HERE.versions(able),
        )
