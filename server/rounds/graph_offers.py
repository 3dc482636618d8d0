"""The graphs that devices train with, exported for the runtimes that they have, once for a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from edge_client.protocol import graphs
from edge_client.protocol.messages import Join, NetworkSpec
from server.config import RunConfig, TrainingConfig
from server.errors import ConfigError, MissingExtraError
from server.export.step import Options
from server.rounds.live import LiveFleet


async def offer_graphs(fleet: LiveFleet, config: RunConfig, network: NetworkSpec, joins: Iterable[Join]) -> None:
    """Have the graphs ready for whatever these devices train with.

    A runtime for which there are none is put on record: a device that has another one goes on with that, and one that
    has not refuses its task and says so.
    """
    there = {runtime for join in joins for runtime in join.capabilities.runtimes}
    bundles = {}
    for runtime in graphs.RUNTIMES:
        if runtime not in there:
            continue
        try:
            bundles[runtime] = await asyncio.to_thread(exported, config.training, network, runtime)
        except (ConfigError, MissingExtraError) as error:
            fleet.notice("no-graphs", runtime=runtime, reason=str(error))
    fleet.offer(bundles, config.broker.chunk_bytes)


def exported(training: TrainingConfig, network: NetworkSpec, runtime: graphs.Runtime) -> bytes:
    """The packed bundle for a run's training; raises ConfigError, or MissingExtraError without its writer."""
    try:
        from server.export.bundle import make_bundle

        batch = training.batch_size if runtime == "tflite" else None
        return graphs.pack(make_bundle(network, runtime, options_of(training), batch=batch))
    except ImportError as error:
        raise MissingExtraError(
            f"graphs for {runtime} cannot be written: {error}; pip install 'fimi[server]'"
        ) from error


def options_of(training: TrainingConfig) -> Options:
    """What of SGD a run's graphs must have. Clipping is in all of them: a device's profile clips."""
    return Options(clip=True, weight_decay=training.weight_decay > 0, prox=training.prox > 0)
