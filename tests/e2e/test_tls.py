"""Server and client at a Mosquitto with TLS and passwords, set up as server/README.md says."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_client import cli as client_cli
from edge_client.protocol.messages import ServerHello
from edge_client.protocol.topics import Topics
from server.broker import BrokerAddress, parse_address
from server.errors import BrokerError, ConfigError
from server.rounds.link import Link
from server.rounds.live import open_fleet
from tests.e2e.world import write_world
from tests.edge_client import trees
from tests.edge_client.agents import NETWORK, write_data
from tests.edge_client.conftest import MOSQUITTO, Broker, free_port

ROOT = Path(__file__).resolve().parents[2]
HELLO = ServerHello(server_id="s", run="r", network=NETWORK)
PASSWORD = "s3cret"
# paho leaves the socket of a failed handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """The sockets that paho leaves are collected here, where nobody minds."""
    yield
    gc.collect()


class SafeBroker:
    """Mosquitto on "localhost", and beside it a second authority that has signed nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config, commands = documented()
        for line in commands.replace("broker.example.org", "localhost").replace("rsa:3072", "rsa:2048").splitlines():
            line = line.replace("USER PASSWORD", f"me {PASSWORD}")
            subprocess.run(line, shell=True, cwd=folder, check=True, capture_output=True)
        shutil.copy(folder / "ca.pem", self.ca)
        other, *_ = commands.replace("rsa:3072", "rsa:2048").splitlines()
        subprocess.run(other, shell=True, cwd=folder, check=True, capture_output=True)
        shutil.move(folder / "ca.pem", self.other_ca)
        self.broker = Broker(folder)
        lines = config.replace("/etc/mosquitto", str(folder)).splitlines()
        assert lines.pop(0) == "listener 8883"
        # Started by root, Mosquitto changes its user, who may not read a test's files.
        self.broker.allow("\n".join([*lines, *(["user root"] if os.geteuid() == 0 else [])]))
        self.broker.start()

    @property
    def ca(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def other_ca(self) -> Path:
        return self.folder / "other.pem"

    def url(self, *, password: str = PASSWORD, host: str = "localhost") -> str:
        return f"mqtts://me:{password}@{host}:{self.broker.port}"

    def address(self, **parts: str) -> BrokerAddress:
        return replace(parse_address(self.url(**parts)), ca_file=self.ca)


def documented() -> tuple[str, str]:
    """The lines for mosquitto.conf, and the commands that make its files."""
    text = (ROOT / "server" / "README.md").read_text()
    blocks = dict(re.findall(r"```(conf|sh)\n(.*?)```", text, re.DOTALL))
    return blocks["conf"], blocks["sh"]


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SafeBroker]:
    if MOSQUITTO is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto is not installed")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificates")
    broker = SafeBroker(tmp_path_factory.mktemp("safe"))
    yield broker
    broker.broker.stop()


def client_words(folder: Path, url: str, ca_file: Path | None) -> list[str]:
    """The command line of a client on a Jetson Nano's files."""
    trees.nano(folder / "root")
    write_data(folder / "d.npz")
    words = ["run", "--broker", url, "--fleet", "f", "--id", "d0", "--runtime", "numpy"]
    words += ["--data", str(folder / "d.npz"), "--root", str(folder / "root")]
    return words if ca_file is None else [*words, "--ca-file", str(ca_file)]


def start_client(folder: Path, url: str, ca_file: Path | None) -> subprocess.Popen[str]:
    words = client_words(folder, url, ca_file)
    command = [sys.executable, "-m", "edge_client.cli", *words]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


async def test_both_sides_meet_at_a_broker_of_your_own(safe: SafeBroker, tmp_path: Path) -> None:
    """The server's hello reaches the client, and the client's answer the server."""
    client = start_client(tmp_path, safe.url(), safe.ca)
    try:
        async with open_fleet(safe.address(), "f", HELLO, lambda kind, **fields: None) as fleet:
            (join,) = await fleet.enrol(1, 60.0)
        assert (join.device, join.run) == ("d0", "r")
        client.terminate()
        _, said = client.communicate(timeout=30)
        assert client.returncode == 0, said
    finally:
        client.kill()
        client.communicate()


FAULTS = {
    "wrong authority": (
        {"ca": "other"},
        "no authority of {other} signed the broker's certificate (unable to get local issuer certificate); "
        "give {ca_file} the PEM file of the authority that did",
    ),
    "no authority": (
        {"ca": "none"},
        "no authority of this system signed the broker's certificate (unable to get local issuer certificate); "
        "give {ca_file} the PEM file of the authority that did",
    ),
    "wrong host": (
        {"host": "127.0.0.1"},
        "IP address mismatch, certificate is not valid for '127.0.0.1'; "
        "give {url} a host that stands in the broker's certificate",
    ),
    "wrong password": (
        {"password": "guess"},
        "it does not let us in (Not authorized); give {url} a user and password that it knows: "
        "mqtts://user:password@host:port",
    ),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, safe: SafeBroker) -> tuple[str, Path | None, str]:
    """A wrong address, the authority that goes with it, and the sentence with {url} and {ca_file} left open."""
    parts, why = FAULTS[request.param]
    parts = dict(parts)
    ca_file = {"good": safe.ca, "other": safe.other_ca, "none": None}[parts.pop("ca", "good")]
    place = f"mqtts://{parts.get('host', 'localhost')}:{safe.broker.port}"
    sentence = f"the broker at {place} cannot be joined: {why.replace('{other}', str(safe.other_ca))}"
    return safe.url(**parts), ca_file, sentence


def test_the_client_ends_with_one_sentence(fault: tuple[str, Path | None, str], tmp_path: Path) -> None:
    url, ca_file, sentence = fault
    client = start_client(tmp_path, url, ca_file)
    _, said = client.communicate(timeout=60)
    assert said == f"fimi-client: {sentence.format(url='--broker', ca_file='--ca-file')}\n"
    assert client.returncode == 5


async def test_the_server_ends_with_the_same_sentence(fault: tuple[str, Path | None, str]) -> None:
    url, ca_file, sentence = fault
    address = replace(parse_address(url), ca_file=ca_file)
    with pytest.raises(BrokerError) as refused:
        async with open_fleet(address, "f", HELLO, lambda kind, **fields: None) as fleet:
            await fleet.enrol(1, 60.0)
    assert str(refused.value) == sentence.format(url="broker.url", ca_file="broker.ca_file")
    assert refused.value.exit_code == 5


def test_the_servers_command_finds_the_authority_beside_its_file(safe: SafeBroker, tmp_path: Path) -> None:
    """It gets as far as the password, so it trusted the certificate."""
    run = write_world(tmp_path / "world", rounds=1, strategies=["tfl"], local_samples=20)
    shutil.copy(safe.ca, run.parent / "ca.pem")
    text = run.read_text()
    text = text[: text.index("[[boards]]")] + "[fleet]\ndevices = 1\n"
    run.write_text(f'{text}[broker]\nurl = "{safe.url(password="guess")}"\nca_file = "ca.pem"\n')
    command = [sys.executable, "-m", "server.cli", "devices", str(run), "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    place = f"the broker at mqtts://localhost:{safe.broker.port} cannot be joined"
    assert re.fullmatch(rf"fimi-server: {place}: it does not let us in .*; give broker\.url .*\n", done.stderr)
    assert done.returncode == 5
    assert "guess" not in done.stdout + done.stderr


async def test_a_port_without_tls_is_said_to_be_one(tmp_path: Path) -> None:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    broker = Broker(tmp_path)
    broker.start()
    url = f"mqtts://localhost:{broker.port}"
    client = start_client(tmp_path, url, None)
    try:
        assert client.stderr is not None
        assert "; for a port without TLS give --broker mqtt://); trying again" in client.stderr.readline()
        with pytest.raises(BrokerError, match=r"no TLS on this port .*; for a port without TLS give broker\.url mqtt"):
            async with open_fleet(parse_address(url), "f", HELLO, lambda kind, **fields: None) as fleet:
                await fleet.enrol(1, 60.0)
    finally:
        client.kill()
        client.communicate()
        broker.stop()


def test_a_missing_file_of_the_authority_is_named_on_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "ca_file: none.pem: No such file or directory; give the PEM file of the authority that signed"
    assert client_cli.main(client_words(tmp_path, f"mqtts://localhost:{free_port()}", Path("none.pem"))) == 2
    assert capsys.readouterr().err.startswith(f"fimi-client: {wrong}")
    address = BrokerAddress("localhost", 1, tls=True, ca_file=Path("none.pem"))
    with pytest.raises(ConfigError, match=rf"broker\.{wrong}"):
        Link(address, Topics("f"), "r", lambda *_: None, lambda: None)
