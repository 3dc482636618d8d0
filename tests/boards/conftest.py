"""A listener that stands in for a broker, and fleets whose clients are tests/boards/fake_client.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tools.boards.fleet_config import BoardConfig, FleetConfig

FAKE_CLIENT = Path(__file__).with_name("fake_client.py")


def fake_command(board: BoardConfig, fleet: str, root: Path, state_dir: Path, data: Path, port: int) -> list[str]:
    command = [sys.executable, str(FAKE_CLIENT), "run", "--broker", f"mqtt://127.0.0.1:{port}", "--id", board.id]
    return [*command, "--fleet", fleet, "--root", str(root), "--data", str(data), "--state-dir", str(state_dir)]


@pytest.fixture
async def broker_port() -> AsyncIterator[int]:
    """Accepts connections, swallows what comes."""
    writers: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(65536):
            pass

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.close()


@pytest.fixture
def make_config(tmp_path: Path, broker_port: int) -> Any:
    """A FleetConfig for boards with these profiles."""
    (tmp_path / "data.npz").write_bytes(b"")

    def make(*profiles: str, **more: Any) -> FleetConfig:
        boards = tuple(BoardConfig(id=f"b{k}", profile=name, data="data.npz") for k, name in enumerate(profiles))
        return FleetConfig(broker=f"127.0.0.1:{broker_port}", fleet="t", board=boards, **more)

    return make
