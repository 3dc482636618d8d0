"""The broker: an embedded Mosquitto as a child of this process, or the address of yours.

Mosquitto's defaults that are changed, and why: `max_queued_messages` 1000 drops chunks for a slow subscriber without a
word; without `set_tcp_nodelay` small messages wait 40 ms; persistence would write every chunk to disk.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from shutil import which

from edge_client.protocol import joining
from edge_client.protocol.processes import die_with_parent
from server.config import BrokerConfig, is_loopback
from server.errors import BrokerError, ConfigError

INSTALL = "sudo apt-get install -y mosquitto"
START_S = 10.0
STOP_S = 5.0


@dataclass(frozen=True)
class BrokerAddress(joining.Address):
    """Where a broker listens, who we are there, and whom we trust there."""

    ca_file: Path | None = None  # PEM: authority of its certificate; None: the system's ones


def parse_address(url: str) -> BrokerAddress:
    """mqtt://[user:password@]host[:port] or mqtts://...; raises ConfigError for anything else."""
    right = 'broker.url must be "embedded", mqtt://[user:password@]host[:port] or mqtts://...'
    wrong = f"{right}; in a password write / ? # @ as %2F %3F %23 %40" if "@" in url else f"{right}, not {url!r}"
    try:
        return BrokerAddress(**asdict(joining.parse_url(url)))
    except ValueError:
        raise ConfigError(wrong) from None


def tls_context(address: BrokerAddress) -> ssl.SSLContext | None:
    """What a connection there is secured with; raises ConfigError."""
    if not address.tls:
        return None
    try:
        return joining.tls_context(address.ca_file)
    except ValueError as error:
        raise ConfigError(f"broker.{error}") from error


def mosquitto_config(listen: str, port: int) -> str:
    """The embedded broker's configuration."""
    # Started by root, Mosquitto would change its user, and the kernel then forgets that it should die with its parent.
    stay = ["user root"] if os.geteuid() == 0 and is_loopback(listen) else []
    return "\n".join(
        (
            *stay,
            f"listener {port} {listen}",
            "allow_anonymous true",
            "persistence false",
            "set_tcp_nodelay true",
            "max_queued_messages 20000",
            "max_inflight_messages 64",
            "max_packet_size 2097152",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "",
        )
    )


@contextmanager
def open_broker(
    config: BrokerConfig, folder: Path, warn: Callable[[str], None], base: Path = Path()
) -> Iterator[BrokerAddress]:
    """The broker of a run: started and stopped here if embedded (its files in `folder`), else only looked for.

    `base` is where a relative `ca_file` starts.
    """
    if config.url != "embedded":
        address = parse_address(config.url)
        if config.ca_file is not None:
            address = replace(address, ca_file=base / Path(config.ca_file).expanduser())
        check_reachable(address)
        yield address
        return
    if not is_loopback(config.listen):
        warn(f"the broker on {config.listen} has no passwords: anyone who reaches this machine can join or listen")
    with embedded_broker(config.listen, config.port, folder) as address:
        yield address


def check_reachable(address: BrokerAddress, timeout_s: float = 5.0) -> None:
    """Raise BrokerError unless something answers there."""
    try:
        socket.create_connection((address.host, address.port), timeout=timeout_s).close()
    except OSError as error:
        raise BrokerError(f"no broker answers at {address}: {error.strerror or error}") from error


@contextmanager
def embedded_broker(listen: str, port: int, folder: Path) -> Iterator[BrokerAddress]:
    """Run Mosquitto inside the context; port 0 takes a free one."""
    program = which("mosquitto") or which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise BrokerError(f"Mosquitto is not installed; install it with: {INSTALL}")
    folder.mkdir(parents=True, exist_ok=True)
    process, chosen = _start_somewhere(program, listen, port, folder)
    try:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)
        yield BrokerAddress(host, chosen)
    finally:
        stop_process(process, STOP_S)


def _start_somewhere(program: str, listen: str, port: int, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start on `port`; on a free one for 0, another if somebody takes it before Mosquitto can."""
    for _ in range(0 if port else 4):
        chosen = _claim_port(listen, port)
        try:
            return _start(program, listen, chosen, folder), chosen
        except BrokerError:
            continue
    chosen = _claim_port(listen, port)
    return _start(program, listen, chosen, folder), chosen


def _claim_port(listen: str, port: int) -> int:
    """`port`, or a free one for 0; raises BrokerError where it cannot be had."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen, port))
        except OSError as error:
            what = f"port {port} on {listen} is taken" if error.errno == 98 else f"cannot listen on {listen}:{port}"
            raise BrokerError(f"{what} ({error.strerror}); set broker.port = 0 to take a free one") from error
        return int(probe.getsockname()[1])


def _start(program: str, listen: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start Mosquitto and return once it accepts connections."""
    config = folder / "mosquitto.conf"
    config.write_text(mosquitto_config(listen, port))
    log = folder / "mosquitto.log"
    with log.open("ab") as stderr:
        before = stderr.tell()
        process = subprocess.Popen(
            [program, "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C is for us: the broker must still carry the good-byes
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - a loaded library, no lock taken
        )
    try:
        for _ in range(int(START_S / 0.02)):
            try:
                # Waiting for its death is also the pause between two attempts to connect.
                process.wait(0.02)
                said = log.read_bytes()[before:].decode(errors="replace").strip().splitlines()
                raise BrokerError(f"Mosquitto ended at once: {said[-1] if said else f'exit code {process.returncode}'}")
            except subprocess.TimeoutExpired:
                pass
            try:
                socket.create_connection((listen, port), timeout=1.0).close()
                return process
            except OSError:
                continue
        raise BrokerError(f"Mosquitto did not listen on {listen}:{port} within {START_S:.0f} s; see {log}")
    except BaseException:
        stop_process(process, STOP_S)
        raise


def stop_process(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """SIGTERM, then SIGKILL after `patience_s`; returns when it is gone."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
