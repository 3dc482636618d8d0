"""Keeps the graphs that this device trains with: files named by the digest of their bytes, asked for when they lack."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from edge_client.agent.collect import Collector
from edge_client.errors import TrainingError
from edge_client.protocol import graphs
from edge_client.protocol.messages import GraphOffer
from edge_client.training.numpy_trainer import NETWORKS
from edge_client.training.store import storing, write_whole

log = logging.getLogger(__name__)

KEPT = 8
"""Bundles that stay on disk, some 60 kB each: those of the runs that this device takes part in now and then."""

LARGEST = 16 << 20
"""Packed bytes beyond which no bundle is asked for."""


def needs_graphs(runtime: str, network: str) -> bool:
    """Whether a runtime trains this network by graphs."""
    return runtime in graphs.RUNTIMES and not (runtime == "numpy" and network in NETWORKS)


class Graphs:
    """Those in `folder`."""

    def __init__(self, folder: Path, collector: Collector) -> None:
        self._folder = folder
        self._collector = collector

    async def file(self, runtime: str, network: str, offers: Sequence[GraphOffer]) -> Path | None:
        """The bundle for this runtime, fetched where it is not here; None for a runtime that needs none.

        Raises TrainingError where none is offered, ProtocolError where what came is none, or StorageError.
        """
        if not needs_graphs(runtime, network):
            return None
        offer = next((offer for offer in offers if offer.runtime == runtime), None)
        if offer is None:
            raise TrainingError(
                f"the server offers no graphs of {network} for runtime {runtime}; its log says why, or set `runtime` "
                "in client.toml to another one"
            )
        if offer.graphs.size_bytes > LARGEST:
            raise TrainingError(f"graphs of {offer.graphs.size_bytes} bytes are offered, at most {LARGEST} are taken")
        path = self._folder / f"{offer.graphs.digest}.fimi"
        if not _holds(path, offer.graphs.digest):
            self._write(path, await self._collector.collect(offer.graphs))
            log.info("graphs for runtime %s: %d bytes", runtime, offer.graphs.size_bytes)
        else:
            path.touch()
        return path

    def _write(self, path: Path, blob: bytes) -> None:
        graphs.unpack(blob)  # what no worker could read is not kept
        write_whole(path, blob)
        with storing(path):
            # not by its time: the clock of a board without a battery may stand before that of all others
            others = sorted(set(self._folder.glob("*.fimi")) - {path}, key=lambda own: own.stat().st_mtime)
            for old in others[: 1 - KEPT]:
                old.unlink(missing_ok=True)


def _holds(path: Path, digest: str) -> bool:
    try:
        return graphs.digest(path.read_bytes()) == digest
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("%s: %s; the graphs are asked for again", path, error.strerror)
        return False
