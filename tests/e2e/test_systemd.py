"""The units under a real systemd: rights, SIGKILL with ExecStopPost, restarts, and what is not tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_client.helper.command import write_units
from edge_client.protocol.messages import Join, Segment, ServerHello
from tests.e2e import systemd_box
from tests.e2e.systemd_box import Box
from tests.edge_client import trees
from tests.edge_client.agents import NETWORK, TOPICS, served, start_round, task, weights, write_data
from tests.edge_client.conftest import Broker, broker
from tests.edge_client.fleet_server import FleetServer

__all__ = ["broker"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(systemd_box.obstacle() is not None, reason=str(systemd_box.obstacle())),
]

AGENT, HELPER = "fimi-client.service", "fimi-helper.service"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A Jetson Nano's files and its data, readable for everybody as in /sys, and the units that the client writes."""
    root = tmp_path / "board"
    trees.nano(root)
    write_data(root / "d.npz")
    write_units(root / "units", "/board/client.toml")
    return root


@pytest.fixture
def box(board: Path, broker: Broker) -> Iterator[Box]:
    write_config(board, broker)
    with systemd_box.booted(board) as box:
        box.run("useradd", "--system", "--user-group", "--home-dir", "/var/lib/fimi", "fimi")
        for name in (AGENT, HELPER):
            box.run("install", "-m", "644", f"/board/units/{name}", "/etc/systemd/system/")
        box.run("systemctl", "daemon-reload")
        yield box


def write_config(board: Path, broker: Broker, more: str = "") -> None:
    (board / "client.toml").write_text(
        f'broker = "mqtt://127.0.0.1:{broker.port}"\nfleet = "{TOPICS.fleet}"\nid = "dev-1"\nruntime = "numpy"\n'
        f'data = "/board/d.npz"\n{more}'
    )


def governor(board: Path) -> str:
    return (board / trees.POLICY / "scaling_governor").read_text().strip()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # files and units have no event that a test could wait on
            await asyncio.sleep(0.02)


async def hold(server: FleetServer, board: Path, round_: int) -> None:
    """A task that trains until it is ended, and the clock held for it."""
    work = task(
        round_,
        local_epochs=10**5,
        segments=(Segment(freq_hz=204e6, samples=40 * 10**5),),
        deadline_s=600.0,
        lease_s=600.0,
    )
    await start_round(server, work, weights())
    await until(lambda: governor(board) == "userspace")


async def test_whatever_is_killed_is_restored_and_started_again(board: Path, box: Box, broker: Broker) -> None:
    async with served(broker) as server:
        box.run("systemctl", "start", HELPER, AGENT)
        await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
        await server.wait_for(Join)

        await hold(server, board, 0)  # by way of the helper: the agent itself may not write
        pid = box.show(AGENT, "MainPID")
        status = dict(line.split(":\t", 1) for line in box.run("cat", f"/proc/{pid}/status").splitlines())
        assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
        assert status["Uid"].split()[0] == box.run("id", "-u", "fimi")
        box.run("systemctl", "kill", "--signal=KILL", AGENT)
        await until(lambda: governor(board) == "schedutil")
        await server.wait_for(Join, 2)  # started again by itself
        assert box.show(AGENT, "NRestarts") == "1"

        await hold(server, board, 1)
        box.run("systemctl", "kill", "--signal=KILL", HELPER)
        await until(lambda: governor(board) == "schedutil")
        await until(lambda: box.show(HELPER, "NRestarts") == "1" and box.show(HELPER, "SubState") == "running")

        box.run("systemctl", "restart", AGENT)
        await server.wait_for(Join, 3)
        await hold(server, board, 2)
        box.run("systemctl", "stop", AGENT)
        assert governor(board) == "schedutil"
        assert box.show(AGENT, "Result") == "success"


async def test_without_the_helper_exec_stop_post_puts_the_board_back(board: Path, box: Box, broker: Broker) -> None:
    """With the udev rules: their group may write the clock's files, and nothing but the unit restores after SIGKILL."""
    write_config(board, broker, 'helper = "none"\n')
    for name in ("governor", "setspeed", "min_freq", "max_freq"):
        box.run("chgrp", "fimi", f"/{trees.POLICY}/scaling_{name}")
        box.run("chmod", "g+w", f"/{trees.POLICY}/scaling_{name}")
    dropin = "/etc/systemd/system/fimi-client.service.d"
    box.run("mkdir", dropin)
    box.run("sh", "-c", f"printf '[Service]\\nRestart=no\\n' > {dropin}/once.conf && systemctl daemon-reload")
    async with served(broker) as server:
        box.run("systemctl", "start", AGENT)
        box.run("systemctl", "stop", HELPER)
        await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
        await server.wait_for(Join)
        await hold(server, board, 0)
        box.run("systemctl", "kill", "--signal=KILL", AGENT)
        await until(lambda: box.show(AGENT, "ActiveState") == "failed")  # not before ExecStopPost has ended
    assert governor(board) == "schedutil"
    assert "status=0" in box.show(AGENT, "ExecStopPost")


async def test_a_wrong_configuration_is_not_tried_again(board: Path, box: Box, broker: Broker) -> None:
    write_config(board, broker, "threads = 0\n")
    box.run("systemctl", "start", AGENT)
    await until(lambda: box.show(AGENT, "ActiveState") == "failed")
    assert (box.show(AGENT, "ExecMainStatus"), box.show(AGENT, "NRestarts")) == ("2", "0")
