"""How exactly an upload keeps its rate: `python -m tools.bench_share`, as root; prints a table of asked and achieved.

Two network namespaces with a virtual cable between them; a broker and a receiver at one end, at the other the client's
own link, uploader and share of the line. Nothing outside the namespaces is touched.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiomqtt

from edge_client.agent.link import Line, Link
from edge_client.agent.share import Share
from edge_client.agent.upload import Pacer, Uploader, chunk_bytes_at
from edge_client.config import parse_broker
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.share import TcShare
from edge_client.hardware.sysfs import SysFs
from edge_client.protocol.chunks import ACK_EVERY, CHUNK_BYTES, Assembler
from edge_client.protocol.messages import AnyMessage, BlobProgress, Chunk, decode, encode
from edge_client.protocol.tasks import end
from edge_client.protocol.topics import Topics

RATES_BITS_PER_S = (500e3, 4e6, 32e6)
UPLOAD_S = 5.0
HERE, THERE = "10.86.0.1", "10.86.0.2"
PORT = 1883
TOPICS, DEVICE = Topics("bench"), "board"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
_MOST_BYTES = 1 << 28
_MODULE = "tools.bench_share"


class Cable:
    """A pair of network namespaces that are joined by a veth pair, `near` at HERE and `far` at THERE."""

    def __init__(self) -> None:
        self.near_name, self.far_name = f"fimi-near-{os.getpid()}", f"fimi-far-{os.getpid()}"
        self.interface = "fimi-near"

    def near(self, *words: str) -> tuple[str, ...]:
        """A command to be run at the near end."""
        return ("ip", "netns", "exec", self.near_name, *words)

    def far(self, *words: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.far_name, *words)


def lack() -> str | None:
    """Why no cable can be laid here, or None."""
    if os.geteuid() != 0:
        return "network namespaces are made by root only"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "ip and tc are not installed (package iproute2)"
    return None


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    """Lay it; it is gone afterwards, whatever happened. Raises OSError where the kernel has no namespaces or veth."""
    laid = Cable()
    steps = (
        f"ip netns add {laid.near_name}",
        f"ip netns add {laid.far_name}",
        f"ip -n {laid.near_name} link add {laid.interface} type veth peer name fimi-far netns {laid.far_name}",
        f"ip -n {laid.near_name} addr add {HERE}/24 dev {laid.interface}",
        f"ip -n {laid.far_name} addr add {THERE}/24 dev fimi-far",
        f"ip -n {laid.near_name} link set {laid.interface} up",
        f"ip -n {laid.far_name} link set fimi-far up",
        f"ip -n {laid.far_name} link set lo up",
    )
    try:
        for step in steps:
            done = subprocess.run(step.split(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise OSError(f"{step}: {done.stderr.strip()}")
        yield laid
    finally:
        for name in (laid.near_name, laid.far_name):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextlib.contextmanager
def receiver(laid: Cable, folder: Path) -> Iterator[None]:
    """A broker and one who takes uploads, at the far end."""
    assert MOSQUITTO is not None
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {PORT} {THERE}\nallow_anonymous true\npersistence false\n")
    broker = subprocess.Popen(laid.far(MOSQUITTO, "-c", str(config)), stderr=subprocess.DEVNULL)
    taker = subprocess.Popen(laid.far(sys.executable, "-m", _MODULE, "--receive"), stdout=subprocess.PIPE)
    try:
        assert taker.stdout is not None
        assert taker.stdout.readline() == b"ready\n"
        yield
    finally:
        for process in (taker, broker):
            process.kill()
            process.wait()
        assert taker.stdout is not None
        taker.stdout.close()


def measure(laid: Cable, bits_per_s: float, seconds: float, share: str) -> dict[str, Any]:
    """One upload from the near end, in a process of its own: rates asked, achieved, accepted, verified."""
    words = ("--send", str(bits_per_s), "--seconds", str(seconds), "--share", share)
    done = subprocess.run(laid.near(sys.executable, "-m", _MODULE, *words), stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def receive() -> None:
    """Take uploads until killed."""
    while True:
        with contextlib.suppress(aiomqtt.MqttError):
            async with aiomqtt.Client(THERE, PORT, protocol=aiomqtt.ProtocolVersion.V5) as client:
                await client.subscribe(TOPICS.to_server(DEVICE), qos=1)
                print("ready", flush=True)
                await _take(client)
        await asyncio.sleep(0.05)  # the broker is not up yet


async def _take(client: aiomqtt.Client) -> None:
    assembler: Assembler | None = None
    async for message in client.messages:
        chunk = decode(message.payload) if isinstance(message.payload, bytes) else None
        if not isinstance(chunk, Chunk):
            continue
        if assembler is None or assembler.digest != chunk.digest:
            assembler = Assembler.from_chunk(chunk, CHUNK_BYTES, _MOST_BYTES)
        new = assembler.add(chunk)
        if assembler.complete or not new or assembler.received % ACK_EVERY == 0:
            word = encode(assembler.progress("server"))
            await client.publish(TOPICS.to_device(DEVICE), word, qos=1)


async def send(bits_per_s: float, seconds: float, kind: str) -> dict[str, Any]:
    """Upload as a client does; `kind`: "htb", or "paced": on a board without tc."""
    uploader: Uploader | None = None
    up = asyncio.Event()

    def on_message(_: str, message: AnyMessage) -> None:
        if isinstance(message, BlobProgress) and uploader is not None:
            uploader.heard(message)

    def on_line(is_up: bool) -> None:
        if is_up:
            up.set()

    link = Link(Line(parse_broker(f"mqtt://{THERE}:{PORT}"), TOPICS, DEVICE, 1 << 17), on_message, on_line)
    running = asyncio.create_task(link.run())
    await up.wait()
    with tempfile.TemporaryDirectory() as folder:
        root = Path("/" if kind == "htb" else folder)
        tc = TcShare(SysFs(root), SettingsFile(Path(folder) / "settings.json"))
        share = Share(tc, bits_per_s, lambda: link.socket)
        blob = os.urandom(round(bits_per_s * seconds / 8))
        with share.hold():
            chunk_bytes = chunk_bytes_at(bits_per_s, min(CHUNK_BYTES, link.room_bytes))
            uploader = Uploader(blob, chunk_bytes, Pacer(bits_per_s), link, share.mark)
            share.begin()
            start = time.monotonic()
            await uploader.run()
            duration_s = time.monotonic() - start
            kept = share.kept(len(blob), duration_s)
    await end(running)
    return {
        "asked_bits_per_s": bits_per_s,
        "achieved_bits_per_s": uploader.bits / duration_s,
        "duration_s": duration_s,
        "share": kept.share,
        "accepted_bits_per_s": kept.accepted_bits_per_s,
        "verified_bits_per_s": kept.verified_bits_per_s,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line an upload."""
    lines = ["share  asked Mbit/s  achieved  off by   class's rate  counted by it"]
    for row in rows:
        asked, achieved = row["asked_bits_per_s"], row["achieved_bits_per_s"]
        held = [row[name] for name in ("accepted_bits_per_s", "verified_bits_per_s")]
        told = ["-" if one is None else f"{one / 1e6:.3f}" for one in held]
        lines.append(
            f"{row['share']:<5}  {asked / 1e6:>12.3f}  {achieved / 1e6:>8.3f}  {achieved / asked - 1:>+6.2%}  "
            f"{told[0]:>13}  {told[1]:>13}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="How exactly uploads keep their rate.")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--send", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--share", default="htb", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=UPLOAD_S, help="of each upload")
    given = parser.parse_args()
    if given.receive:
        asyncio.run(receive())
    if given.send is not None:
        print(json.dumps(asyncio.run(send(given.send, given.seconds, given.share))))
        return 0
    why = lack() or (None if MOSQUITTO else "mosquitto is not installed")
    if why is not None:
        print(f"bench_share: {why}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, cable() as laid, receiver(laid, Path(folder)):
        runs = [(kind, rate) for kind in ("paced", "htb") for rate in RATES_BITS_PER_S]
        print(table([measure(laid, rate, given.seconds, kind) for kind, rate in runs]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
