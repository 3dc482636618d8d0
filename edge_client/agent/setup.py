"""What a client is made of, before anything of it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_client.agent.link import Line
from edge_client.conditions import Rules
from edge_client.events import Device
from edge_client.hardware.board import Board
from edge_client.protocol.messages import NetworkSpec
from edge_client.training import frames


@dataclass(frozen=True)
class Setup:
    """What the shell is given; nothing in it runs yet."""

    device: Device
    line: Line
    board: Board
    data: Path
    state_dir: Path
    runtime: str
    threads: int
    meter_period_s: float
    heartbeat_s: float
    cpus: tuple[int, ...] | None = None
    rules: Rules = field(default_factory=Rules)

    def begin(self, network: NetworkSpec) -> frames.Begin:
        """What the training worker is told first."""
        return frames.Begin(
            network=network,
            runtime=self.runtime,
            threads=self.threads,
            data=str(self.data),
            cpus=self.cpus,
            samples=str(self.state_dir),
        )
