"""The command: what bad input gets, and that whatever ends the process leaves the board as it was."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_client import cli, config
from edge_client.config import ClientConfig
from edge_client.errors import SetupError
from edge_client.hardware.alone import alone
from edge_client.protocol.messages import Join, Segment, ServerHello, TaskClosed
from edge_client.runtimes import Python
from firmware_profiles.strict import ConfigError, load_toml
from tests.edge_client import trees
from tests.edge_client.agents import NETWORK, TOPICS, served, start_round, task, weights, write_data
from tests.edge_client.conftest import Broker, free_port
from tests.edge_client.fleet_server import FleetServer

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and the one line on standard error."""
    status = cli.main([str(word) for word in words])
    return status, capsys.readouterr().err.strip()


# ---- import ------------------------------------------------------------------------------------------------------


def test_importing_the_command_loads_neither_torch_nor_the_server() -> None:
    code = (
        "import sys, edge_client.cli; "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'server', 'tools', 'scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"


# ---- bad input ---------------------------------------------------------------------------------------------------


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", capsys=capsys) == (
        2,
        "fimi-client: broker is missing; give --broker or `broker` in client.toml",
    )
    status, said = run("run", "--broker", "mqtt://h", "--fleet", "f", "--id", "d", capsys=capsys)
    assert (status, said) == (2, "fimi-client: data is missing; give --data or `data` in client.toml")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--broker", "h:1883"], 2, "--broker h:1883 is no broker; give mqtt://host:port or mqtts://host:port"),
        (["--broker", "mqtt://h:x"], 2, "give mqtt://host:port"),
        (["--broker", "mqtt://h/path"], 2, "is no broker"),
        (["--fleet", "a/b"], 2, "--fleet 'a/b' must be 1 to 64 letters"),
        (["--id", "+"], 2, "--id '+' must be 1 to 64 letters"),
        (["--data", "none.npz"], 3, "none.npz: no such file; give this device's samples with --data"),
        (["--root", "/nowhere"], 2, "--root /nowhere is no folder"),
        (["--threads", "0"], 2, "command line: threads: 0 is out of range; it must be a whole number >= 1"),
        (["--cpus", "3-1"], 2, "cpus: '3-1' is no list of CPUs; give one as 0-3 or 0,2,5"),
        (["--cpus", "0-99999999999"], 2, "they are numbered from 0 to 4095 at most"),
        (["--cpus", "4094-4095"], 2, "cpus: none of 4094,4095 is here to train on (Invalid argument); give some of "),
        (["--storage-samples", "-1"], 2, "storage_samples"),
        (["--config", "none.toml"], 2, "none.toml: no such file"),
        (
            ["--ca-file", "ca.pem"],
            2,
            "ca_file is given, but mqtt://h:1883 is a broker without TLS; give --broker mqtts",
        ),
    ],
)
def test_bad_flags(
    words: list[str], status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path / "d.npz")
    flags = {
        "--broker": "mqtt://h",
        "--fleet": "f",
        "--id": "d",
        "--data": str(tmp_path / "d.npz"),
        "--root": str(tmp_path),
        "--runtime": "numpy",
    }
    flags |= dict(zip(words[::2], words[1::2], strict=True))
    got, line = run("run", *(word for pair in flags.items() for word in pair), capsys=capsys)
    assert got == status
    assert line.startswith("fimi-client: ")
    assert said in line


def test_a_missing_runtime_answers_with_the_line_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "HERE", Python({"numpy"}.__contains__, lambda _: None))
    words = ["--broker", "mqtt://h", "--fleet", "f", "--id", "d", "--data", tmp_path / "d.npz", "--root", tmp_path]
    words += ["--runtime", "torch"]
    status, said = run("run", *words, capsys=capsys)
    assert status == 7
    assert "training runtime \"torch\" is not installed; install it with: pip install 'fimi[torch]'" in said


def test_a_configuration_is_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "client.toml"
    for text, said in (
        ("heartbeat_ms = 5", "heartbeat_ms"),
        ("heartbeat_s = 0", "heartbeat_s"),
        ("heartbeat_s = 1e-9", "heartbeat_s"),
        ("[rssi]\ncommand = 'ssh \"ap'", "rssi.command: 'ssh \"ap' is no command line"),
        ("[rssi]\ncommand = '  '", "rssi.command"),
        ("[plug]\nkind='tasmota'\nbroker='mqtt://h'\ntopic='a/#'", "plug.topic: 'a/#' has a wildcard"),
        ("meter_period_s = 1e-9", "meter_period_s"),
        ("cert_file = 'x'", "cert_file: needs key_file"),
        ("runtime = 'onyx'", "runtime"),
        ("memory_limit = 0", "memory_limit"),
        ("broker = 5", "broker"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            load_toml(path, ClientConfig)
        status, line = run("run", "--config", path, capsys=capsys)
        assert status == 2
        assert str(path) in line
        assert said in line


def test_a_second_client_of_one_board_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or it would take what the first has set for the owner's settings, and undo it in mid-task."""
    fs = trees.nano(tmp_path)
    write_data(tmp_path / "d.npz")
    fs.write(f"{trees.POLICY}/scaling_governor", "userspace")
    trees.settings(tmp_path).save("cpufreq", {"policy0/scaling_governor": "schedutil"})
    words = ["--broker", "mqtt://h", "--fleet", "f", "--id", "d", "--data", tmp_path / "d.npz", "--root", tmp_path]
    with alone(tmp_path / "run/fimi"):
        status, said = run("run", *words, "--runtime", "numpy", capsys=capsys)
        assert "another client or sweep is at work on this board" in said
        assert (status, run("radio-check", "--root", tmp_path, capsys=capsys)) == (2, (2, said))
    assert fs.read(f"{trees.POLICY}/scaling_governor") == "userspace"


def test_flags_go_before_the_file() -> None:
    merged = config.merge(ClientConfig(id="file", fleet="f"), {"id": "flag", "fleet": None})
    assert (merged.id, merged.fleet) == ("flag", "f")
    with pytest.raises(SetupError, match="command line"):
        config.merge(ClientConfig(), {"threads": 0})


def test_broker_addresses() -> None:
    plain = config.parse_broker("mqtt://h")
    assert (plain.host, plain.port, plain.tls, plain.username) == ("h", 1883, False, None)
    safe = config.parse_broker("mqtts://me:p%40ss@h:9000")
    assert (safe.port, safe.tls, safe.username, safe.password) == (9000, True, "me", "p@ss")
    assert config.parse_broker("mqtts://h").port == 8883


@pytest.mark.parametrize("url", ["http://me:s3cret@h", "mqtt://me:s3c/ret@h", "mqtt://me:12/s3cret@h", "me:s3cret@h:1"])
def test_a_password_is_shown_nowhere(url: str) -> None:
    with pytest.raises(SetupError, match=r"--broker \.\.\.@h.* in a password write / \? # @ as %2F") as refused:
        config.parse_broker(url)
    assert "s3c" not in str(refused.value)
    assert "s3cret" not in repr(config.parse_broker("mqtt://me:s3cret@h"))


def test_every_setting_is_in_the_readme() -> None:
    text = (REPOSITORY / "edge_client/README.md").read_text(encoding="utf-8")
    for name in ClientConfig.__struct_fields__:
        assert f"`{name}`" in text, name
    for command in cli._COMMANDS:
        assert f"fimi-client {command}" in text


# ---- show and restore --------------------------------------------------------------------------------------------


def test_show_says_what_the_board_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.nano(tmp_path)
    assert cli.main(["show", "--root", str(tmp_path)]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen["capabilities"]["meter"] == "ina3221"
    assert seen["power_w"] == 2.5
    assert seen["limits"] is None
    assert (seen["upload_share"]["share"], seen["upload_share"]["interface"]) == ("paced", None)


def test_restore_puts_back_or_says_that_it_could_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fs = trees.nano(tmp_path)
    file = trees.settings(tmp_path)
    fs.write(f"{trees.POLICY}/scaling_governor", "userspace")
    file.save("cpufreq", {"policy0/scaling_governor": "schedutil"})
    assert run("restore", "--root", tmp_path, capsys=capsys) == (0, "")
    assert fs.read(f"{trees.POLICY}/scaling_governor") == "schedutil"
    file.save("cpufreq", {"policy9/scaling_governor": "schedutil"})
    status, said = run("restore", "--root", tmp_path, capsys=capsys)
    assert status == 6
    assert "not everything could be restored" in said


@pytest.mark.parametrize("text", ["heartbeat_ms = 5", "threads = ", None])
def test_a_board_is_put_back_though_its_configuration_is_wrong(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Edited while the client was at work, which is then killed: ExecStopPost must not stop at the mistake."""
    fs, file, path = trees.nano(tmp_path), trees.settings(tmp_path), tmp_path / "client.toml"
    fs.write(f"{trees.POLICY}/scaling_governor", "userspace")
    file.save("cpufreq", {"policy0/scaling_governor": "schedutil"})
    if text is not None:
        path.write_text(text)
    status, said = run("restore", "--config", path, "--root", tmp_path, capsys=capsys)
    assert status == 2
    assert str(path) in said
    assert fs.read(f"{trees.POLICY}/scaling_governor") == "schedutil"
    fs.write(f"{trees.POLICY}/scaling_governor", "userspace")
    file.save("cpufreq", {"policy0/scaling_governor": "schedutil"})
    path.write_text(f"root = '{tmp_path}'\nheartbeat_ms = 5")
    assert run("restore", "--config", path, capsys=capsys)[0] == 2
    assert fs.read(f"{trees.POLICY}/scaling_governor") == "schedutil"


# ---- the process -------------------------------------------------------------------------------------------------


def start_client(tmp_path: Path, port: int, *more: str) -> subprocess.Popen[bytes]:
    words = ["--broker", f"mqtt://127.0.0.1:{port}", "--fleet", TOPICS.fleet, "--id", "dev-1", "--runtime", "numpy"]
    paths = ["--data", str(tmp_path / "d.npz"), "--root", str(tmp_path / "root")]
    return subprocess.Popen(
        [sys.executable, "-m", "edge_client.cli", "run", *words, *paths, *more], cwd=REPOSITORY, stderr=subprocess.PIPE
    )


async def train_for_ever(server: FleetServer) -> None:
    """Until the clock is held."""
    await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
    await server.wait_for(Join)
    long = task(local_epochs=10_000, segments=(Segment(freq_hz=204e6, samples=400_000),))
    await start_round(server, long, weights())


async def held(root: Path) -> Path:
    """The policy, once the client holds it."""
    policy = root / trees.POLICY
    while (policy / "scaling_setspeed").read_text().strip() != "204000":
        await asyncio.sleep(0.01)
    return policy


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_the_task_and_restores_the_clock(
    number: signal.Signals, tmp_path: Path, broker: Broker
) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    client = start_client(tmp_path, broker.port)
    try:
        async with served(broker) as server:
            await train_for_ever(server)
            policy = await held(tmp_path / "root")
            client.send_signal(number)
            closed = await server.wait_for(TaskClosed)
            assert (closed.outcome, closed.reason) == ("aborted", f"the client was ended by {number.name}")
            client.communicate(timeout=30)
            assert client.returncode == 0
            assert (policy / "scaling_governor").read_text().strip() == "schedutil"
            assert not (tmp_path / "root/run/fimi/settings.json").exists()
    finally:
        end(client)


async def test_after_sigkill_the_worker_is_gone_and_the_next_start_restores(tmp_path: Path, broker: Broker) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    client = start_client(tmp_path, broker.port)
    again = None
    try:
        async with served(broker) as server:
            await train_for_ever(server)
            policy = await held(tmp_path / "root")
            children = Path(f"/proc/{client.pid}/task/{client.pid}/children").read_text().split()
            assert children
            os.kill(int(children[0]), signal.SIGSTOP)  # as a virtual board's governor may have left it
            client.kill()
            client.communicate()
            assert (policy / "scaling_governor").read_text().strip() == "userspace"
            while any(alive(int(child)) for child in children):  # the kernel kills it with its parent
                await asyncio.sleep(0.01)
            again = start_client(tmp_path, broker.port)
            await server.wait_for(Join, 2)
            assert (policy / "scaling_governor").read_text().strip() == "schedutil"
    finally:
        for process in (client, again):
            if process is not None:
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_without_a_broker_the_client_says_so_and_waits(tmp_path: Path) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    client = start_client(tmp_path, free_port())
    assert client.stderr is not None
    try:
        line = client.stderr.readline().decode()
        assert "no connection to 127.0.0.1:" in line
        assert "trying again" in line
        client.terminate()
        assert client.wait(30) == 0
    finally:
        end(client)
