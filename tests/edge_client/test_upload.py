"""The way of an update to the server: its rate, and messages that a broker takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.agent.upload import Pacer
from edge_client.errors import LinkError
from edge_client.protocol.messages import Update
from tests.edge_client.agents import fleet, make_shell, start_round, task, weights
from tests.edge_client.conftest import Broker
from tests.edge_client.pieces import split


async def test_an_upload_keeps_to_its_rate_and_small_chunks_to_the_brokers_limit(
    tmp_path: Path, broker: Broker
) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        await start_round(server, task(upload_bits_per_s=20_000.0, chunk_bytes=10**6), weights())
        update = await server.wait_for(Update)
        size_bits = 8 * update.weights.size_bytes
        assert update.weights.chunk_bytes == 64 * 1024 - 512
        assert update.upload.duration_s >= size_bits / 20_000
        assert update.upload.bits >= size_bits
        assert update.upload.radio.capability == "unsupported"


def test_a_message_too_large_for_the_broker_is_refused_before_it_is_published(tmp_path: Path) -> None:
    link = make_shell(tmp_path, 1)._link
    chunk = split(bytes(link.room_bytes), link.room_bytes)[0]
    link.post(chunk)
    with pytest.raises(LinkError, match="a Chunk of 70[0-9]+ bytes exceeds the broker's limit of 65536"):
        link.post(split(bytes(70_000), 70_000)[0])


def test_the_pacer_keeps_the_mean_rate() -> None:
    pacer = Pacer(8000.0)  # 1000 bytes a second
    assert pacer.delay_s(500, 10.0) == 0.5
    assert pacer.delay_s(500, 10.5) == 0.5
    assert pacer.delay_s(1000, 10.6) == pytest.approx(1.4)
    assert pacer.delay_s(100, 20.0) == pytest.approx(0.1)  # silence is not saved up
    assert Pacer(None).delay_s(10**9, 0.0) == 0.0
