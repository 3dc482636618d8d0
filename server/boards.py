"""The virtual boards of a run: one child process that the server starts and stops, and nothing more of them here."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from edge_client.protocol.processes import die_with_parent
from server.broker import BrokerAddress
from server.config import RunConfig
from server.errors import ConfigError, FleetError
from server.run_dir import RunDir

STOP_S = 30.0
ROOT = Path(__file__).resolve().parents[1]


def boards_name(attempt: int) -> str:
    """The folder of the boards of a run's first, second ... attempt: what was measured in one is not written over."""
    return "boards" if attempt == 1 else f"boards-{attempt}"


def fleet_toml(config: RunConfig, run: RunDir, address: BrokerAddress, attempt: int = 1) -> str:
    """FLEET.toml for `fimi-board fleet`; a JSON string is a TOML string as well."""
    if address.tls or address.username is not None:
        raise ConfigError("broker.url: [[boards]] need the embedded broker or a plain mqtt:// one without a password")
    lines = [
        f"broker = {json.dumps(f'{address.host}:{address.port}')}",
        f"fleet = {json.dumps(config.fleet.name)}",
        f"seed = {config.seed}",
        f"dir = {json.dumps(str((run.path / boards_name(attempt)).resolve()))}",
    ]
    for board in config.boards:
        data = (run.path / "data" / f"{board.id}.npz").resolve()
        lines += [
            "",
            "[[board]]",
            f"id = {json.dumps(board.id)}",
            f"profile = {json.dumps(board.profile)}",
            f"data = {json.dumps(str(data))}",
            f"storage_samples = {board.storage_samples}",
            f"runtime = {json.dumps(board.runtime)}",
        ]
        for table, values in (("faults", board.faults), ("radio", board.radio)):
            if values:
                lines += [f"[board.{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def open_boards(
    config: RunConfig, run: RunDir, address: BrokerAddress, on_death: Callable[[Exception], None], attempt: int = 1
) -> AsyncIterator[None]:
    """Run the boards inside the context; without [[boards]] it does nothing.

    `on_death`: they ended by themselves. `attempt` counts from 1: how often the run was begun or gone on with.
    """
    if not config.boards:
        yield
        return
    file = run.path / "FLEET.toml"
    file.write_text(fleet_toml(config, run, address, attempt))
    log = run.path / "boards.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tools.boards.cli",
            "fleet",
            str(file.resolve()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C is for the server: the boards still close their tasks
            preexec_fn=partial(die_with_parent, os.getpid()),
        )

    async def watch() -> None:
        code = await process.wait()
        said = log.read_text(errors="replace").strip().splitlines()
        on_death(FleetError(f"the virtual boards ended with exit code {code}: {said[-1] if said else 'no word'}"))

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
