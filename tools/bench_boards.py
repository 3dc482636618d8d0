"""Holds virtual boards against their own law, with real clients, a real broker and the real training step.

    python -m tools.bench_boards [--boards jetson-nano raspberry-pi-5 ...] [--repeats 12] [--foreign 1] [--json FILE]

Each client measures its profile at two clocks, in many short windows and in turn: a shared host needs now 10 ms, now 13
for the same sample, for half a minute at a time, and long windows would compare those minutes, not the clocks. Two
things must hold: samples a second at two clocks are to each other as the law's tau, and the joules that the client
measured over a window are the ledger's, both within 5 %. `--foreign N` burns N cores beside it: then
the same must hold of all windows that are not marked starved. Exit code 1 if not.

Of a speed that is off, two columns tell whose fault it is: "q off" is the CPU time that the worker got against what the
law allows (ours), "ms/sample" the CPU time that a sample cost (the host's: it changes when others fill its caches).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import numpy as np

from edge_client.protocol import messages
from edge_client.protocol.messages import Join, NetworkSpec, ProfileReport, ProfileRequest, Refusal, ServerHello
from edge_client.protocol.processes import die_with_parent
from edge_client.protocol.topics import Topics
from tools.bench_rows import Row, rows_of, table
from tools.boards.fleet import Fleet
from tools.boards.fleet_config import BoardConfig, FleetConfig
from tools.boards.law import BoardLaw
from tools.boards.ledger import Truth, read_ledger

FLEET = "bench"
NETWORK = NetworkSpec(name="vgg9", image_shape=(28, 28, 1), n_classes=10)


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    fleet = ["jetson-nano", "raspberry-pi-4b", "raspberry-pi-5"] * 2
    parser.add_argument("--boards", nargs="+", default=fleet, metavar="PROFILE")
    parser.add_argument("--window-s", type=float, default=4.0)
    parser.add_argument("--settle-s", type=float, default=0.5)
    parser.add_argument("--clocks", type=float, nargs="+", default=[0.5, 1.0], help="as shares of the top clock")
    parser.add_argument("--repeats", type=int, default=12, help="windows at each clock, taken in turn")
    parser.add_argument("--foreign", type=int, default=0, metavar="N", help="burn N cores beside it")
    parser.add_argument("--usable-share", type=float, default=0.75, help="of the host's cores, for all boards together")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fimi-bench-")))
        stack.enter_context(foreign_load(arguments.foreign))
        rows, governor_share = asyncio.run(_bench(folder, arguments))
    print(table(rows))
    print(f"governor: {governor_share:.1%} of a core for {len(arguments.boards)} boards")
    if arguments.json:
        document = {
            "rows": [asdict(row) for row in rows],
            "governor_share": governor_share,
            "foreign": arguments.foreign,
        }
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    bad = [row for row in rows if not row.ok]
    starved, windows = sum(row.starved for row in rows), sum(row.windows for row in rows)
    print(f"{len(rows) - len(bad)} of {len(rows)} clocks hold; {starved} of {windows} windows were marked starved")
    return 1 if bad else 0


async def _bench(folder: Path, arguments: argparse.Namespace) -> tuple[list[Row], float]:
    _write_data(folder / "data.npz")
    boards = tuple(
        BoardConfig(id=f"b{k}-{profile.split('-')[-1]}", profile=profile, data="data.npz", storage_samples=0)
        for k, profile in enumerate(arguments.boards)
    )
    async with broker(folder) as port:
        config = FleetConfig(broker=f"127.0.0.1:{port}", fleet=FLEET, board=boards, usable_share=arguments.usable_share)
        fleet = Fleet(config, folder, out=io.StringIO())
        try:
            await fleet.start()
            assert fleet.governor is not None
            reports = await _profiles(port, fleet, arguments)
            governor_share = fleet.governor.cpu_s / max(board.state.seconds for board in fleet.boards)
        finally:
            await fleet.stop()
            print(fleet.governor and f"latest look {fleet.governor.worst_late_s:.3f} s", file=sys.stderr)
    laws = {board.id: board.law for board in fleet.boards}
    return [row for id_ in reports for row in rows_of(id_, laws[id_], *_seen(id_, folder))], governor_share


def _seen(id_: str, folder: Path) -> tuple[list[dict[str, Any]], Truth]:
    """What a board's client wrote into its journal, and the ledger's truth."""
    journal = folder / "boards" / f"{id_}.state" / "windows.jsonl"
    lines = [msgspec.json.decode(line) for line in journal.read_bytes().splitlines()]
    return lines, read_ledger(folder / "boards" / f"{id_}.ledger.jsonl")


async def _profiles(port: int, fleet: Fleet, arguments: argparse.Namespace) -> dict[str, ProfileReport]:
    """Ask every board for its profile, and wait for all answers."""
    topics = Topics(FLEET)
    reports: dict[str, ProfileReport] = {}
    asked: set[str] = set()
    laws = {board.id: board.law for board in fleet.boards}
    places = {board.id: k for k, board in enumerate(fleet.boards)}
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(topics.all_to_server, qos=1)
        hello = ServerHello(server_id="bench", run="bench", network=NETWORK)
        await client.publish(topics.hello, messages.encode(hello), qos=1, retain=True)
        async for received in client.messages:
            message = messages.decode(bytes(received.payload))
            if isinstance(message, Join) and message.device not in asked:
                asked.add(message.device)
                request = ProfileRequest(
                    run="bench",
                    network=NETWORK,
                    batch_size=4,
                    freqs_hz=_turns(laws[message.device], arguments.clocks, arguments.repeats, places[message.device]),
                    window_s=arguments.window_s,
                    settle_s=arguments.settle_s,
                )
                await client.publish(topics.to_device(message.device), messages.encode(request), qos=1)
            elif isinstance(message, ProfileReport):
                reports[message.device] = message
                print(f"{message.device} has measured ({len(reports)} of {len(fleet.boards)})", file=sys.stderr)
                if len(reports) == len(fleet.boards):
                    break
            elif isinstance(message, Refusal):
                raise RuntimeError(f"{message.device}: {message.reason}")
    return reports


def _turns(law: BoardLaw, shares: list[float], repeats: int, place: int) -> tuple[float, ...]:
    """The clocks in turn, begun by each board at another one, so that the host is about equally busy all the time.

    In step, all boards would be slow together and fast together, and a sample costs a host with shared caches and
    cores more CPU time the busier it is: that is the host's law, not the boards'.
    """
    clocks = _clocks(law, shares)
    first = place % len(clocks)
    return (clocks[first:] + clocks[:first]) * repeats


def _clocks(law: BoardLaw, shares: list[float]) -> tuple[float, ...]:
    """The operating points nearest to these shares of the top clock, none below the true floor."""
    points = [hz for hz in law.opps_hz if hz >= law.true_floor_hz]
    return tuple(min(points, key=lambda hz: abs(hz - share * points[-1])) for share in shares)


def _write_data(path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, *NETWORK.image_shape), dtype=np.uint8)
    np.savez(path, x=images, y=rng.integers(0, NETWORK.n_classes, 200), n_classes=np.int64(NETWORK.n_classes))


@contextlib.asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[int]:
    """A Mosquitto on a free port of the loopback interface."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed; install it with: sudo apt-get install mosquitto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = folder / "mosquitto.conf"
    # Started by root, Mosquitto would change its user, and the kernel then forgets that it should die with us.
    stay = "user root\n" if os.geteuid() == 0 else ""
    lines = f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n{stay}"
    settings.write_text(lines, encoding="ascii")
    process = await asyncio.create_subprocess_exec(
        program,
        "-c",
        str(settings),
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us: the broker must still carry the good-byes
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextlib.contextmanager
def foreign_load(cores: int) -> Iterator[None]:
    """Processes that burn `cores` cores and have nothing to do with us."""
    burners: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(cores):
            burner = subprocess.Popen(
                [sys.executable, "-c", "while True: pass"],
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - a loaded library, no lock taken
            )
            burners.append(burner)
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


if __name__ == "__main__":
    sys.exit(main())
