"""How the client's process ends: by a closed terminal too, and not with 0 where the board is left changed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_client import cli
from edge_client.errors import LinkError
from edge_client.protocol.messages import TaskClosed
from tests.edge_client import trees
from tests.edge_client.agents import served, write_data
from tests.edge_client.conftest import Broker
from tests.edge_client.test_cli import REPOSITORY, TOPICS, end, held, start_client, train_for_ever


async def test_a_hangup_closes_the_task_and_restores_the_clock(tmp_path: Path, broker: Broker) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    client = start_client(tmp_path, broker.port)
    try:
        async with served(broker) as server:
            await train_for_ever(server)
            policy = await held(tmp_path / "root")
            client.send_signal(signal.SIGHUP)
            closed = await server.wait_for(TaskClosed)
            assert (closed.outcome, closed.reason) == ("aborted", "the client was ended by SIGHUP")
            client.communicate(timeout=30)
            assert client.returncode == 0
            assert (policy / "scaling_governor").read_text().strip() == "schedutil"
    finally:
        end(client)


async def test_under_nohup_it_stays(tmp_path: Path, broker: Broker) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    words = ["--broker", f"mqtt://127.0.0.1:{broker.port}", "--fleet", TOPICS.fleet, "--id", "dev-1"]
    paths = ["--runtime", "numpy", "--data", str(tmp_path / "d.npz"), "--root", str(tmp_path / "root")]
    command = [sys.executable, "-m", "edge_client.cli", "run", *words, *paths]
    client = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command], cwd=REPOSITORY, stderr=subprocess.PIPE
    )
    try:
        async with served(broker) as server:
            await train_for_ever(server)
            await held(tmp_path / "root")
            client.send_signal(signal.SIGHUP)
            client.send_signal(signal.SIGTERM)
            closed = await server.wait_for(TaskClosed)
            assert closed.reason == "the client was ended by SIGTERM"
    finally:
        end(client)


async def test_a_clock_that_could_not_be_restored_is_status_6(tmp_path: Path, broker: Broker) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    client = start_client(tmp_path, broker.port)
    try:
        async with served(broker) as server:
            await train_for_ever(server)
            policy = await held(tmp_path / "root")
            shutil.rmtree(policy)  # as if the kernel had taken it away
            client.send_signal(signal.SIGTERM)
            await server.wait_for(TaskClosed)
            _, said = client.communicate(timeout=30)
            kept = tmp_path / "root/run/fimi/settings.json"
            assert f"fimi-client: not everything could be restored; what remains stands in {kept}" in said.decode()
            assert client.returncode == 6
            assert kept.exists()
    finally:
        end(client)


def test_it_is_status_6_too_where_the_line_broke_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")

    async def refused(setup: cli.Setup) -> None:
        raise LinkError("the broker refuses us")

    monkeypatch.setattr(cli, "_serve", refused)
    words = ["run", "--broker", "mqtt://h", "--fleet", "f", "--id", "d", "--runtime", "numpy"]
    words += ["--data", str(tmp_path / "d.npz"), "--root", str(tmp_path / "root")]
    assert cli.main(words) == 5
    trees.settings(tmp_path / "root").save("cpufreq", {"policy9/scaling_governor": "schedutil"})
    assert cli.main(words) == 6
    assert "fimi-client: not everything could be restored" in capsys.readouterr().err
