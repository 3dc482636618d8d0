"""The embedded broker as a real child, and what its refusals say."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from server import broker
from server.broker import BrokerAddress, check_reachable, embedded_broker, mosquitto_config, open_broker, parse_address
from server.config import BrokerConfig
from server.errors import BrokerError, ConfigError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://host", BrokerAddress("host", 1883)),
        ("mqtts://host", BrokerAddress("host", 8883, tls=True)),
        ("mqtt://me:s%40crt@host:99/", BrokerAddress("host", 99, username="me", password="s@crt")),
        ("mqtt://[::1]:7", BrokerAddress("::1", 7)),
    ],
)
def test_addresses(url: str, address: BrokerAddress) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize("url", ["http://host", "host:1883", "mqtt://", "mqtt://host:seven", "mqtt://host/topic"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"broker\.url must be"):
        parse_address(url)


def test_a_password_is_shown_nowhere() -> None:
    assert "secret" not in str(parse_address("mqtt://me:secret@host"))
    for url in ("http://me:secret@host", "mqtt://me:sec/ret@host", "mqtt://me:12/secret@host"):
        with pytest.raises(ConfigError, match="in a password write / ") as refused:
            parse_address(url)
        assert "sec" not in str(refused.value)


def test_the_configuration_is_the_one_that_drops_nothing_silently() -> None:
    lines = mosquitto_config("127.0.0.1", 1234).splitlines()
    for line in ("listener 1234 127.0.0.1", "persistence false", "set_tcp_nodelay true", "max_queued_messages 20000"):
        assert line in lines


def test_it_runs_answers_and_is_gone(tmp_path: Path) -> None:
    with embedded_broker("127.0.0.1", 0, tmp_path) as address:
        check_reachable(address)
    with pytest.raises(BrokerError, match=f"no broker answers at mqtt://127.0.0.1:{address.port}"):
        check_reachable(address, timeout_s=1.0)


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), embedded_broker("127.0.0.1", 0, tmp_path) as address:
        _ = 1 / 0
    with pytest.raises(BrokerError):
        check_reachable(address, timeout_s=1.0)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(BrokerError, match=rf"port {port} on 127\.0\.0\.1 is taken .*broker\.port = 0"),
            embedded_broker("127.0.0.1", port, tmp_path),
        ):
            pass


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    with (
        pytest.raises(BrokerError, match=r"cannot listen on 192\.0\.2\.1:0"),
        embedded_broker("192.0.2.1", 0, tmp_path),
    ):
        pass


def test_a_broker_that_ends_at_once_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "mosquitto_config", lambda listen, port: f"listener {port} {listen}\nnonsense 1\n")
    with pytest.raises(BrokerError, match="Mosquitto ended at once: .*"), embedded_broker("127.0.0.1", 0, tmp_path):
        pass


def test_what_it_said_before_is_kept_and_not_taken_for_why_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mosquitto.log").write_text("of the first attempt\n")
    with embedded_broker("127.0.0.1", 0, tmp_path):
        pass
    assert (tmp_path / "mosquitto.log").read_text().startswith("of the first attempt\n")
    (tmp_path / "mosquitto").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "mosquitto").chmod(0o755)
    monkeypatch.setattr(broker, "which", lambda *_, **__: str(tmp_path / "mosquitto"))
    with (
        pytest.raises(BrokerError, match="Mosquitto ended at once: exit code 3"),
        embedded_broker("127.0.0.1", 0, tmp_path),
    ):
        pass


def test_without_mosquitto_the_one_line_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "which", lambda *_, **__: None)
    with pytest.raises(BrokerError, match="apt-get install -y mosquitto"), embedded_broker("127.0.0.1", 0, tmp_path):
        pass


def test_open_to_the_network_warns(tmp_path: Path) -> None:
    said: list[str] = []
    config = BrokerConfig(listen="0.0.0.0", open_to_network=True)
    with open_broker(config, tmp_path, said.append) as address:
        assert address.host == "127.0.0.1"
    assert "no passwords" in said[0]


def test_an_external_broker_is_only_looked_for(tmp_path: Path) -> None:
    with embedded_broker("127.0.0.1", 0, tmp_path) as address:
        config = BrokerConfig(url=f"mqtt://127.0.0.1:{address.port}")
        with open_broker(config, tmp_path, print) as found:
            assert found == address
        check_reachable(address)
    with pytest.raises(BrokerError, match="no broker answers"), open_broker(config, tmp_path, print):
        pass


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A forked process starts one, tells its port, and is killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with embedded_broker("127.0.0.1", 0, tmp_path) as address:
            os.write(write, str(address.port).encode())
            os.kill(os.getpid(), 9)
    port = int(os.read(read, 10))
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    with socket.socket() as probe:
        probe.settimeout(10)
        # The kernel has sent SIGTERM; the connection, if it still opens, ends when the broker does.
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            assert probe.recv(1) == b""
