"""A hundred SIGKILLs at random moments of a task, of agent, helper and worker in turn: the board is put back each time.

The test plays the supervisor: it runs the ExecStopPost of the unit whose process it has killed, and starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_client.protocol.messages import Abort, Join, Segment, ServerHello, TaskClosed
from tests.edge_client import fake_tc, trees
from tests.edge_client.agents import NETWORK, TOPICS, served, start_round, task, weights, write_data
from tests.edge_client.conftest import Broker, broker
from tests.edge_client.fleet_server import FleetServer
from tests.edge_client.helper_process import CLIENT, REPOSITORY, HelperProcess, exec_stop_post
from tools.boards.sensors import IW

__all__ = ["broker"]

KILLS = 100
LONGEST_S = 1.0  # a task trains for about half a second and sends for another half


class Site:
    """One board with its helper and its agent, and what they change."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        trees.nano(root)
        fake_tc.board(root)
        trees.put(root, {"bin/iw": IW, "run/firmware/txpower_mbm": 3100})
        write_data(root / "d.npz")
        self.port = port
        self.helped = False
        self.helper = HelperProcess(root)
        self.agent = self.start_agent()

    def start_agent(self) -> subprocess.Popen[bytes]:
        """With the helper and with rights of its own in turn."""
        self.helped = not self.helped
        helper = f"{self.root}/run/fimi-helper/helper.sock" if self.helped else "none"
        (self.root / "client.toml").write_text(
            f'broker = "mqtt://127.0.0.1:{self.port}"\nfleet = "{TOPICS.fleet}"\nid = "dev-1"\nruntime = "numpy"\n'
            f'data = "{self.root}/d.npz"\nroot = "{self.root}"\nhelper = "{helper}"\n'
        )
        words = [*shlex.split(CLIENT), "run", "--config", str(self.root / "client.toml")]
        return subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.DEVNULL)

    def worker(self) -> int | None:
        """The training process, where there is one."""
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()
            return int(children[0]) if children else None
        return None

    def settings(self) -> tuple[str, str, str, bool]:
        """Governor, transmit power in mBm, eth0's queue, and whether anything is noted as changed."""
        left = any((self.root / name).exists() for name in ("run/fimi/settings.json", "run/fimi-helper/settings.json"))
        governor = (self.root / trees.POLICY / "scaling_governor").read_text().strip()
        power = (self.root / "run/firmware/txpower_mbm").read_text().strip()
        return governor, power, fake_tc.root_queue(self.root), left

    def close(self) -> None:
        self.agent.kill()
        self.agent.wait()
        self.helper.kill()


AS_BEFORE = ("schedutil", "3100", "noqueue 0:", False)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # files have no event that says so
            await asyncio.sleep(0.005)


async def a_task(server: FleetServer, round_: int) -> None:
    """About half a second of training at one clock, then half a second of sending at low power."""
    samples = 40 * 600
    work = task(
        round_, local_epochs=600, segments=(Segment(freq_hz=204e6, samples=samples),), tx_power_w=0.01,
        upload_bits_per_s=12_000.0, deadline_s=600.0, lease_s=600.0,
    )  # fmt: skip
    await start_round(server, work, weights())


@pytest.mark.timeout(600)
async def test_a_hundred_sigkills_leave_the_board_as_it_was(tmp_path: Path, broker: Broker) -> None:
    rng = random.Random(4)
    site = Site(tmp_path, broker.port)
    caught = {"agent": 0, "helper": 0, "worker": 0}
    joins = closed = shared = 0
    try:
        async with served(broker) as server:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            for n in range(KILLS):
                if site.agent.poll() is not None:
                    site.agent = site.start_agent()
                if joins == 0 or n % 3 == 1:  # the first agent, or one after a kill
                    joins += 1
                    await server.wait_for(Join, joins)
                assert site.settings() == AS_BEFORE
                await a_task(server, n)
                await asyncio.sleep(rng.uniform(0.0, LONGEST_S))
                name = ("agent", "helper", "worker")[n % 3]
                held = site.settings() != AS_BEFORE
                caught[name] += held
                shared += fake_tc.root_queue(tmp_path).startswith("htb")
                if name == "agent":
                    site.agent.kill()
                    site.agent.wait()
                    exec_stop_post("fimi-client.service", tmp_path)
                    if site.helped:
                        await until(lambda: site.settings() == AS_BEFORE)  # the helper has seen it go
                    assert site.settings() == AS_BEFORE
                    continue
                if name == "helper":
                    site.helper.kill()
                    exec_stop_post("fimi-helper.service", tmp_path)
                    assert not site.helped or site.settings() == AS_BEFORE  # an agent by itself goes on
                    site.helper = HelperProcess(tmp_path)
                elif (pid := site.worker()) is not None:
                    os.kill(pid, 9)
                await server.say(Abort(run="r1", round=n, reason="the next kill"))
                closed += 1
                await server.wait_for(TaskClosed, closed)
                await until(lambda: site.settings() == AS_BEFORE)
    finally:
        site.close()
    assert min(caught.values()) >= KILLS // 3 // 2, caught  # most kills came while something was changed
    assert shared >= 10 or os.geteuid() != 0  # and some while a class held the upload, which takes the right to mark
