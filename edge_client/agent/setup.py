"""What a client is made of, before anything of it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_client.agent.link import Line
from edge_client.conditions import Rules
from edge_client.events import Device
from edge_client.hardware.board import Board


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
