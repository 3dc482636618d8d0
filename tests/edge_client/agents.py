"""A client on a Jetson Nano's files, and a scripted server that takes it through a round."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import numpy as np

from edge_client.agent.link import Line
from edge_client.agent.setup import Setup
from edge_client.agent.shell import Shell
from edge_client.config import parse_broker
from edge_client.events import Device
from edge_client.hardware.board import discover
from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import BlobRef, Join, NetworkSpec, Segment, ServerHello, Task
from edge_client.protocol.topics import Topics
from edge_client.protocol.weights import pack
from edge_client.training import data
from tests.edge_client import trees
from tests.edge_client.conftest import Broker
from tests.edge_client.fleet_server import CHUNK_BYTES, FleetServer

NETWORK = NetworkSpec(name="softmax", image_shape=(8, 8, 1), n_classes=3)
TOPICS = Topics("test-fleet")


def write_data(path: Path, n: int = 40) -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(n) % 3
    images = (rng.integers(0, 60, (n, 8, 8, 1)) + 90 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(path, x=images, y=labels, n_classes=3)


def make_shell(tmp_path: Path, port: int) -> Shell:
    fs = trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    samples = data.load(tmp_path / "d.npz")
    board = discover(fs, trees.settings(tmp_path / "root"))
    line = Line(parse_broker(f"mqtt://127.0.0.1:{port}"), TOPICS, "dev-1", 64 * 1024, backoff_s=(0.05, 0.1))
    return Shell(
        Setup(
            device=Device(
                "dev-1", samples.label_counts, samples.image_shape, 30, board.capabilities(("numpy",)), "test"
            ),
            line=line,
            board=board,
            data=tmp_path / "d.npz",
            state_dir=tmp_path / "state",
            runtimes=("numpy",),
            threads=1,
            meter_period_s=0.02,
            heartbeat_s=0.05,
        )
    )


@contextlib.asynccontextmanager
async def served(broker: Broker) -> AsyncIterator[FleetServer]:
    """A server that listens."""
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        server = FleetServer(client, TOPICS, "dev-1")
        listening = asyncio.create_task(server.listen())
        try:
            yield server
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@contextlib.asynccontextmanager
async def fleet(tmp_path: Path, broker: Broker) -> AsyncIterator[tuple[FleetServer, Shell]]:
    """A server and a client, joined."""
    async with served(broker) as server:
        shell = make_shell(tmp_path, broker.port)
        running = asyncio.create_task(shell.run())
        try:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            await server.wait_for(Join)
            yield server, shell
        finally:
            shell.stop("the test is over")
            await asyncio.wait_for(running, 30)


def weights(scale: float = 0.0) -> bytes:
    return pack({"w": np.full((64, 3), scale, np.float32), "b": np.zeros(3, np.float32)})


def shard(n: int = 20, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (n, 8, 8, 1), dtype=np.uint8), np.arange(n) % 3


def task(round_: int = 0, synth: BlobRef | None = None, model: bytes | None = None, **change: object) -> Task:
    n_synth = int(change.get("synth_samples", 20 if synth is not None else 0))  # type: ignore[call-overload]
    total = 2 * (40 + n_synth)
    values: dict[str, object] = {
        "run": "r1",
        "round": round_,
        "network": NETWORK,
        "model": blob_ref(model or weights(), CHUNK_BYTES),
        "shard": synth,
        "local_epochs": 2,
        "local_samples": 40,
        "synth_samples": n_synth,
        "batch_size": 8,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "clip_norm": None,
        "seed": 3,
        "segments": (Segment(freq_hz=710.4e6, samples=total // 2), Segment(freq_hz=1479e6, samples=total - total // 2)),
        "tx_power_w": None,
        "upload_bits_per_s": None,
        "chunk_bytes": CHUNK_BYTES,
        "deadline_s": 30.0,
        "lease_s": 30.0,
        **change,
    }
    return Task(**values)  # type: ignore[arg-type]


async def start_round(server: FleetServer, work: Task, model: bytes) -> None:
    await server.say(work)
    await server.send_blob(model, TOPICS.model)
