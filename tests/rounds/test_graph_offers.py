"""Graphs for the runtimes that devices have: made once, offered to those that can use them, sent to those that ask."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from edge_client.protocol import graphs
from edge_client.protocol.chunks import Assembler, blob_ref
from edge_client.protocol.messages import AnyMessage, BlobProgress, Chunk, Join, NetworkSpec
from edge_client.protocol.topics import Topics
from server.config import RunConfig, TrainingConfig
from server.rounds.blobs import Outgoing
from server.rounds.graph_offers import offer_graphs
from tests.rounds.fake_device import join_of

NET = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
TOPICS = Topics("f")


class Fleet:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.offered: dict[str, bytes] = {}
        self.chunk_bytes = 0
        self.notices: list[tuple[str, dict[str, object]]] = []

    def offer(self, offered: Mapping[str, bytes], chunk_bytes: int) -> None:
        self.offered, self.chunk_bytes = dict(offered), chunk_bytes

    def notice(self, kind: str, **fields: object) -> None:
        self.notices.append((kind, fields))


def able(device: str, *runtimes: str) -> Join:
    join = join_of(device, "r", (4, 4, 4))
    return msgspec.structs.replace(join, capabilities=msgspec.structs.replace(join.capabilities, runtimes=runtimes))


async def offered(network: NetworkSpec, training: TrainingConfig, *joins: Join) -> Fleet:
    fleet = Fleet()
    await offer_graphs(fleet, RunConfig(training=training), network, joins)  # type: ignore[arg-type]
    return fleet


async def test_graphs_are_made_for_the_runtimes_that_are_there() -> None:
    fleet = await offered(NET, TrainingConfig(batch_size=7), able("a", "torch"), able("b", "tflite", "numpy"))
    assert set(fleet.offered) == {"tflite", "numpy"}
    bundles = {runtime: graphs.unpack(blob) for runtime, blob in fleet.offered.items()}
    assert {runtime: bundle.batch for runtime, bundle in bundles.items()} == {"tflite": 7, "numpy": None}
    assert all(bundle.network == NET for bundle in bundles.values())
    assert fleet.chunk_bytes == RunConfig().broker.chunk_bytes
    assert fleet.notices == []


@pytest.mark.parametrize(
    ("training", "terms"),
    [
        (TrainingConfig(), ("clip_norm",)),
        (TrainingConfig(weight_decay=1e-4), ("clip_norm", "weight_decay")),
        (TrainingConfig(prox=0.1, clip_norm=1.0), ("clip_norm", "prox")),
    ],
)
async def test_they_have_the_terms_that_the_run_wants(training: TrainingConfig, terms: tuple[str, ...]) -> None:
    fleet = await offered(NET, training, able("a", "numpy"))
    assert graphs.unpack(fleet.offered["numpy"]).terms == terms


async def test_a_network_that_cannot_be_exported_is_put_on_record() -> None:
    fleet = await offered(NetworkSpec(name="softmax", image_shape=(8, 8, 1), n_classes=3), TrainingConfig(),
                          able("a", "numpy", "torch"))  # fmt: skip
    assert fleet.offered == {}
    [(kind, fields)] = fleet.notices
    assert (kind, fields["runtime"]) == ("no-graphs", "numpy")
    assert "softmax" in str(fields["reason"])


async def test_equal_runs_have_equal_graphs() -> None:
    """A device then keeps them from run to run."""
    first, second = [await offered(NET, TrainingConfig(), able("a", "numpy", "onnx", "tflite")) for _ in range(2)]
    assert first.offered == second.offered


# ---- on their way ------------------------------------------------------------------------------------------------


class Device:
    """Collects a blob, and says what it has of it."""

    def __init__(self, name: str, outgoing: Outgoing, blob: bytes) -> None:
        self.name, self._outgoing = name, outgoing
        self.assembler = Assembler(blob_ref(blob, 100))

    def say(self) -> None:
        self._outgoing.heard(self.name, self.assembler.progress(self.name, stalled=True))


def server(blob: bytes) -> tuple[Outgoing, list[tuple[str, AnyMessage]]]:
    sent: list[tuple[str, AnyMessage]] = []
    outgoing = Outgoing(
        TOPICS, lambda topic, message: sent.append((topic, message)), lambda error: pytest.fail(str(error))
    )
    outgoing.stand(blob, blob_ref(blob, 100))
    return outgoing, sent


def take(device: Device, sent: list[tuple[str, AnyMessage]]) -> int:
    """What came for this device; returns how many chunks."""
    chunks = [m for topic, m in sent if topic == TOPICS.to_device(device.name) and isinstance(m, Chunk)]
    sent.clear()
    for chunk in chunks:
        device.assembler.add(chunk)
    return len(chunks)


def test_a_blob_that_stands_ready_is_sent_to_each_that_asks() -> None:
    blob = bytes(range(256)) * 2  # six chunks
    outgoing, sent = server(blob)
    for name in ("a", "b", "a"):  # the third: a's card has lost it
        device = Device(name, outgoing, blob)
        device.say()
        assert take(device, sent) == 6
        assert device.assembler.blob == blob
        device.say()
        assert sent == []


def test_one_that_was_interrupted_hears_what_it_lacks_or_all_of_it() -> None:
    blob = bytes(range(256)) * 2
    outgoing, sent = server(blob)
    first = Device("a", outgoing, blob)
    first.say()
    lost = [message for _, message in sent if isinstance(message, Chunk)][2]
    sent.remove((TOPICS.to_device("a"), lost))
    assert take(first, sent) == 5
    first.say()
    assert take(first, sent) == 1
    assert first.assembler.complete
    again = Device("a", outgoing, blob)  # killed before it had said so, and started again
    again.say()
    assert take(again, sent) == 6


def test_word_on_a_blob_that_nobody_has_is_ignored() -> None:
    outgoing, sent = server(b"x" * 300)
    outgoing.heard("a", BlobProgress(sender="a", digest="0" * 64, received=0, missing=(0,)))
    outgoing.stop()  # between rounds, too
    device = Device("a", outgoing, b"x" * 300)
    device.say()
    assert take(device, sent) == 3
