"""The way of an update to the server: its rate, and messages that a broker takes."""

from __future__ import annotations

import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_client.agent.upload import Pacer, Uploader, chunk_bytes_at
from edge_client.errors import LinkError
from edge_client.protocol.chunks import Assembler
from edge_client.protocol.messages import Chunk, Update, encode
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
        assert update.weights.chunk_bytes == 4096
        assert update.upload.duration_s >= size_bits / 20_000
        assert update.upload.bits >= size_bits
        radio = update.upload.radio
        assert (radio.capability, radio.share, radio.requested_bits_per_s) == ("unsupported", "paced", 20_000.0)
        assert (radio.accepted_bits_per_s, radio.verified_bits_per_s) == (None, None)


async def test_an_upload_without_a_rate_is_cut_as_the_broker_allows(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        await start_round(server, task(chunk_bytes=10**6), weights())
        update = await server.wait_for(Update)
        assert update.weights.chunk_bytes == 64 * 1024 - 512
        assert update.upload.radio.share == "none"


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
    assert pacer.delay_s(1000, 11.2) == pytest.approx(0.8)  # 0.2 s late: made up for
    assert Pacer(None).delay_s(10**9, 0.0) == 0.0


def test_of_a_long_silence_half_a_second_is_made_up_for() -> None:
    pacer = Pacer(8000.0)
    assert pacer.delay_s(1000, 0.0) == 1.0
    assert [pacer.delay_s(100, 20.0) for _ in range(6)] == pytest.approx([0, 0, 0, 0, 0, 0.1])


def test_late_wake_ups_add_up_to_nothing() -> None:
    """A thousand packets of 1 ms, each sent 0.5 ms late: 1 s and the last one's delay, not 1.5 s."""
    pacer, now = Pacer(8e6), 0.0
    for _ in range(1000):
        now += pacer.delay_s(1000, now) + 0.0005
    assert now == pytest.approx(1.0005)


def test_paced_chunks_are_small_and_not_smaller_than_their_envelope_allows() -> None:
    assert chunk_bytes_at(None, 100_000) == 100_000
    assert chunk_bytes_at(4e6, 100_000) == 50_000  # a tenth of a second
    assert chunk_bytes_at(1e9, 100_000) == 100_000
    assert chunk_bytes_at(1000.0, 100_000) == 4096
    assert chunk_bytes_at(1000.0, 1000) == 1000


class Lossy:
    """A link that loses the first packet of chunk 2 and acknowledges as a server does."""

    def __init__(self) -> None:
        self.uploader: Uploader | None = None
        self.assembler: Assembler | None = None
        self.sent: list[int] = []

    def weigh(self, message: Chunk) -> int:
        return len(message.data) + 200

    async def send(self, message: Chunk) -> int:
        assert self.uploader is not None
        assert self.assembler is not None
        self.sent.append(message.index)
        if self.sent == [0, 1, 2]:
            return self.weigh(message)
        self.assembler.add(message)
        self.uploader.heard(self.assembler.progress("server"))
        return self.weigh(message)


async def test_the_rate_holds_for_whole_packets_and_for_those_sent_again() -> None:
    link = Lossy()
    uploader = Uploader(bytes(8000), 1000, Pacer(96_000.0), link)  # a packet: 1200 bytes, 0.1 s
    link.uploader, link.assembler = uploader, Assembler(uploader.ref)
    start = time.monotonic()
    await uploader.run()
    assert sorted(link.sent) == [0, 1, 2, 2, 3, 4, 5, 6, 7]
    assert uploader.bits == 9 * 9600
    achieved_bits_per_s = uploader.bits / (time.monotonic() - start)
    assert 0.9 * 96_000 <= achieved_bits_per_s <= 1.001 * 96_000  # below it on a busy machine, never above


@pytest.mark.parametrize("size", [10, 5000, 40_000])
def test_a_packet_is_weighed_as_paho_makes_it(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, chunk = make_shell(tmp_path, 1)._link, split(bytes(size), size)[0]
    paho, made = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5), list[bytes]()
    monkeypatch.setattr(paho, "_sock", object())
    monkeypatch.setattr(paho, "_packet_queue", lambda _, packet, *__: made.append(packet))
    paho._send_publish(1, link._inbox.encode(), encode(chunk))
    assert link.weigh(chunk) == len(made[0])
