"""A real client and the server's own fleet at a broker that takes small messages only: uploads of many chunks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from edge_client.agent.link import Line
from edge_client.agent.setup import Setup
from edge_client.agent.shell import Shell
from edge_client.config import parse_broker
from edge_client.events import Device
from edge_client.hardware.board import discover
from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import NetworkSpec, Segment, ServerHello, Task
from edge_client.protocol.topics import Topics
from edge_client.protocol.weights import pack
from edge_client.training import data
from server.broker import parse_address
from server.rounds.live import open_fleet
from server.rounds.round_run import RoundJob, RoundOutcome
from tests.edge_client import trees
from tests.edge_client.conftest import MOSQUITTO, Broker

SIDE, N_CLASSES, N_SAMPLES = 32, 10, 20
NETWORK = NetworkSpec(name="softmax", image_shape=(SIDE, SIDE, 3), n_classes=N_CLASSES)
WEIGHTS = {"b": np.zeros(N_CLASSES, np.float32), "w": np.zeros((SIDE * SIDE * 3, N_CLASSES), np.float32)}


def make_shell(folder: Path, url: str, max_packet_bytes: int) -> Shell:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (N_SAMPLES, SIDE, SIDE, 3), dtype=np.uint8)
    np.savez(folder / "d.npz", x=images, y=np.arange(N_SAMPLES) % N_CLASSES, n_classes=N_CLASSES)
    samples = data.load(folder / "d.npz")
    board = discover(trees.nano(folder / "root"), trees.settings(folder / "root"))
    able = board.capabilities(("numpy",))
    return Shell(
        Setup(
            device=Device("d0", samples.label_counts, samples.image_shape, 0, able, "test"),
            line=Line(parse_broker(url), Topics("f"), "d0", max_packet_bytes, backoff_s=(0.05, 0.1)),
            board=board,
            data=folder / "d.npz",
            state_dir=folder / "state",
            runtimes=("numpy",),
            threads=1,
            meter_period_s=0.02,
            heartbeat_s=1.0,
        )
    )


def make_job(chunk_bytes: int) -> RoundJob:
    model = pack(WEIGHTS)
    task = Task(
        run="r",
        round=1,
        network=NETWORK,
        model=blob_ref(model, chunk_bytes),
        shard=None,
        local_epochs=1,
        local_samples=N_SAMPLES,
        synth_samples=0,
        batch_size=5,
        learning_rate=1e-3,
        momentum=0.0,
        weight_decay=0.0,
        clip_norm=None,
        seed=0,
        segments=(Segment(freq_hz=None, samples=N_SAMPLES),),
        tx_power_w=None,
        upload_bits_per_s=None,
        chunk_bytes=chunk_bytes,
        deadline_s=60.0,
        lease_s=60.0,
    )
    return RoundJob(
        run="r", round=1, tasks={"d0": task}, weights=WEIGHTS, model=model, shards={}, quorum=1, deadline_s=60.0
    )


@pytest.mark.parametrize(
    ("chunk_bytes", "max_packet_bytes", "cut_bytes"),
    [
        (120 * 1024, 4096, 4096 - 512),  # the device's broker takes less than the task says
        (2048, 128 * 1024, 2048),  # the run says less than either would take
    ],
)
async def test_an_update_of_many_chunks_arrives(
    chunk_bytes: int, max_packet_bytes: int, cut_bytes: int, tmp_path: Path
) -> None:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    broker = Broker(tmp_path)
    broker.start()
    url = f"mqtt://127.0.0.1:{broker.port}"
    shell = make_shell(tmp_path, url, max_packet_bytes)
    running = asyncio.create_task(shell.run())
    hello = ServerHello(server_id="s", run="r", network=NETWORK)
    try:
        async with open_fleet(parse_address(url), "f", hello, lambda kind, **fields: None) as fleet:
            await fleet.enrol(1, 60.0)
            outcome: RoundOutcome = await fleet.run_round(make_job(chunk_bytes))
    finally:
        shell.stop("the test is over")
        await asyncio.wait_for(running, 30)
        broker.stop()
    (update,) = outcome.state.updates
    assert update.weights.chunk_bytes == cut_bytes
    assert update.weights.size_bytes > 15 * cut_bytes
    assert np.abs(outcome.mean.moved(WEIGHTS)["w"]).max() > 0
    assert [closed.outcome for closed in outcome.state.closed] == ["done"]
