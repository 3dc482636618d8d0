"""What a client is made of, before anything of it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_client.agent.link import Line
from edge_client.conditions import Rules
from edge_client.events import Device
from edge_client.hardware.board import Board
from edge_client.protocol.messages import NetworkSpec
from edge_client.runtimes import Name
from edge_client.training import frames


@dataclass(frozen=True)
class Setup:
    """What the shell is given; nothing in it runs yet. `runtimes`: those to choose from, by preference; `memory_bytes`:
    what the training process may hold (None: what it takes)."""

    device: Device
    line: Line
    board: Board
    data: Path
    state_dir: Path
    runtimes: tuple[Name, ...]
    threads: int
    meter_period_s: float
    heartbeat_s: float
    cpus: tuple[int, ...] | None = None
    rules: Rules = field(default_factory=Rules)
    bfloat16: bool = False
    memory_bytes: int | None = None

    def begin(self, network: NetworkSpec, runtime: Name, graphs: Path | None) -> frames.Begin:
        """What the training worker is told first; `graphs` is the file of those that the runtime needs."""
        return frames.Begin(
            network=network,
            runtime=runtime,
            threads=self.threads,
            data=str(self.data),
            cpus=self.cpus,
            samples=str(self.state_dir),
            graphs=None if graphs is None else str(graphs),
            bfloat16=self.bfloat16 and runtime == "torch",
            memory_bytes=self.memory_bytes,
        )
