"""Only the samples that a device lacks are sent, and it trains with exactly those of its task: a client and its agent
between kills, restarts of both sides, damage and full disks."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from edge_client.agent import partial
from edge_client.protocol.messages import Bye, Chunk, Join, ServerHello, ShardNeeds, TaskClosed, Update, UpdateAck
from edge_client.protocol.shards import pack_list, pack_mask, pack_shard, unpack_list
from edge_client.training.store import SampleStore
from tests.edge_client import agents
from tests.edge_client.agents import NETWORK, TOPICS, fleet, served, shard, task, weights
from tests.edge_client.conftest import Broker
from tests.edge_client.fleet_server import FleetServer

SHAPE = (8, 8, 1)
ALL = shard(60)


def some(*places: range) -> tuple[np.ndarray, np.ndarray]:
    index = [place for part in places for place in part]
    return ALL[0][index], ALL[1][index]


async def round_of(server: FleetServer, number: int, images: np.ndarray, labels: np.ndarray) -> Update:
    """Offer a shard, have it trained and acknowledge the update."""
    before = sum(isinstance(message, Update) for message in server.heard)
    await server.say(task(number, synth=server.offer_shard(images, labels), synth_samples=len(labels)))
    await server.send_blob(weights(), TOPICS.model)
    update = await server.wait_for(Update, before + 1)
    await server.say(UpdateAck(run="r1", round=number, status="accepted"))
    await server.wait_for(TaskClosed, before + 1)
    return update


def asked(server: FleetServer) -> list[int]:
    """How many samples each needs named."""
    return [bin(int.from_bytes(m.lacking, "big")).count("1") for m in server.heard if isinstance(m, ShardNeeds)]


def sent_bytes(server: FleetServer) -> int:
    return sum(len(chunk.data) for chunk in server.sent)


def stored(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> bool:
    return SampleStore(tmp_path / "state", SHAPE, 30).holds(unpack_list(pack_list(images, labels)))


async def test_a_changed_set_costs_its_difference(tmp_path: Path, broker: Broker) -> None:
    first, second = some(range(20)), some(range(15), range(20, 25))
    async with fleet(tmp_path, broker) as (server, _):
        update = await round_of(server, 0, *first)
        assert update.samples == 2 * (40 + 20)
        spent = sent_bytes(server)
        await round_of(server, 1, *first)
        assert sent_bytes(server) == spent  # neither samples nor list
        await round_of(server, 2, *second)
        lacking = np.arange(20) >= 15
        assert sent_bytes(server) - spent == len(pack_list(*second)) + len(pack_shard(*(x[lacking] for x in second)))
        assert asked(server) == [20, 0, 5]
        needs = [message for message in server.heard if isinstance(message, ShardNeeds)]
        assert needs[-1].lacking == pack_mask(lacking)
        assert stored(tmp_path, *second)
        await round_of(server, 3, *first)  # the room is for 30: the five of before are still here
        assert asked(server)[-1] == 0
    async with fleet(tmp_path, broker) as (server, _):  # another server, and a client that was started again
        await round_of(server, 4, *some(range(25)))
        assert asked(server) == [0]
    assert not partial.path_in(tmp_path / "state").exists()


async def test_a_sample_that_is_there_twice_is_sent_once(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        update = await round_of(server, 0, *some(range(15), range(5)))
        assert (update.samples, asked(server)) == (120, [15])


async def test_the_room_is_kept_while_sets_overlap(tmp_path: Path, broker: Broker) -> None:
    most, copy = 0, tmp_path / "copy"
    copy.mkdir()
    async with fleet(tmp_path, broker) as (server, _):

        def look(chunk: Chunk) -> bool:
            """At each chunk of a part: what is on disk at this moment, and what is on its way to it."""
            nonlocal most
            if (tmp_path / "state/samples").exists() and chunk.digest in {
                sent.digest for sent in server.sent
            } - server.shards.keys():
                (copy / "samples").write_bytes((tmp_path / "state/samples").read_bytes())
                most = max(most, SampleStore(copy, SHAPE, 30).held() + asked(server)[-1])
            return False

        server.lose = look
        server.chunk_bytes = 256
        await round_of_small(server, 0, range(30))
        await round_of_small(server, 1, range(20, 50))  # 10 stay, 20 make room
        await round_of_small(server, 2, range(40, 60))
        assert asked(server) == [30, 20, 10]
        assert SampleStore(tmp_path / "state", SHAPE, 30).held() == 30
        assert most == 30
    assert (tmp_path / "state/samples").stat().st_size == 16 + 30 * (8 + 4 + 64)


async def round_of_small(server: FleetServer, number: int, places: range) -> None:
    """The shard in small chunks, the model in those that the task says."""
    images, labels = some(places)
    before = sum(isinstance(message, Update) for message in server.heard)
    needs = len(asked(server))
    ref = server.offer_shard(images, labels)
    model = weights(0.1 * number)  # another one each time: one that is here would be reported before it is offered
    await server.say(task(number, synth=ref, model=model, synth_samples=len(labels)))
    await server.wait_for(ShardNeeds, needs + 1)
    small, server.chunk_bytes = server.chunk_bytes, agents.CHUNK_BYTES
    await server.send_blob(model, TOPICS.model)
    server.chunk_bytes = small
    await server.wait_for(Update, before + 1)
    await server.say(UpdateAck(run="r1", round=number, status="accepted"))
    await server.wait_for(TaskClosed, before + 1)


async def test_a_damaged_store_asks_for_what_it_lost(tmp_path: Path, broker: Broker) -> None:
    first = some(range(20))
    async with fleet(tmp_path, broker) as (server, _):
        await round_of(server, 0, *first)
    path = tmp_path / "state/samples"
    raw = bytearray(path.read_bytes())
    for slot in (3, 11):
        raw[16 + slot * 76 + 40] ^= 1
    path.write_bytes(raw)
    async with fleet(tmp_path, broker) as (server, _):
        await round_of(server, 1, *first)
        assert asked(server) == [2]
    path.unlink()
    async with fleet(tmp_path, broker) as (server, _):
        await round_of(server, 2, *first)
        assert asked(server) == [20]
        raw = bytearray(path.read_bytes())
        raw[16 + 30] ^= 1  # under the client's hands, which rely on it: the task fails, the next one mends it
        path.write_bytes(raw)
        await server.say(task(3, synth=server.offer_shard(*first)))
        await server.send_blob(weights(), TOPICS.model)
        closed = await server.wait_for(TaskClosed, 2)
        assert (closed.outcome, closed.reason) == ("failed", "samples of the task are not on disk any more, or damaged")
        await server.say(task(4, synth=server.offer_shard(*first)))
        await server.send_blob(weights(), TOPICS.model)
        await server.wait_for(Update, 2)
        assert asked(server) == [20, 0, 1]


async def test_a_set_whose_digest_is_wrong_is_asked_for_whole_and_then_given_up(tmp_path: Path, broker: Broker) -> None:
    images, labels = some(range(20))
    async with fleet(tmp_path, broker) as (server, _):
        await round_of(server, 0, images, labels)
        lying = bytearray(pack_list(images, labels))
        lying[20] ^= 1  # of the digest of the whole
        ref = server._offer(bytes(lying))
        server.shards[ref.digest] = (images, labels)
        await server.say(task(1, synth=ref))
        await server.send_blob(weights(), TOPICS.model)
        closed = await server.wait_for(TaskClosed, 2)
        assert closed.reason == "the samples that came are not those of the task: their digest is another one"
        assert asked(server) == [20, 0, 20]


async def test_samples_that_were_not_asked_for_close_the_task(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        ref = server.offer_shard(*some(range(20)))
        server.shards[ref.digest] = some(range(30, 50))
        await server.say(task(synth=ref))
        closed = await server.wait_for(TaskClosed)
        assert closed.reason == "the samples that came are not those that were asked for"
        await server.say(task(1, synth=ref, synth_samples=21))
        closed = await server.wait_for(TaskClosed, 2)
        assert closed.reason == "a list of 21 samples has 213 bytes, not 205"  # 45 + 8 * 21
        assert SampleStore(tmp_path / "state", SHAPE, 30).held() == 0
        await round_of(server, 2, *some(range(20)))


async def test_a_full_disk_closes_the_task_with_a_sentence(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = some(range(20)), some(range(10, 30))
    async with fleet(tmp_path, broker) as (server, _):
        await round_of(server, 0, *first)
        with monkeypatch.context() as broken:

            def full(*_: int) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            broken.setattr(os, "posix_fallocate", full)
            await server.say(task(1, synth=server.offer_shard(*second)))
            await server.send_blob(weights(), TOPICS.model)
            closed = await server.wait_for(TaskClosed, 2)
            assert closed.outcome == "failed"
            assert closed.reason.startswith("the disk is full: ")
        assert stored(tmp_path, *some(range(10, 20)))
        assert SampleStore(tmp_path / "state", SHAPE, 30).held() == 20  # nothing half written, nothing lost
        await round_of(server, 2, *second)


class Killed:
    """A client in a process of its own, to be killed."""

    def __init__(self, tmp_path: Path, port: int) -> None:
        self._tmp_path, self._port = tmp_path, port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        code = (
            "import asyncio, sys; from pathlib import Path; from tests.edge_client.agents import make_shell; "
            "asyncio.run(make_shell(Path(sys.argv[1]), int(sys.argv[2])).run())"
        )
        root = str(Path(__file__).parents[2])
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(self._tmp_path), str(self._port), env={**os.environ, "PYTHONPATH": root}
        )

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@pytest.fixture
async def client(tmp_path: Path, broker: Broker) -> AsyncIterator[Killed]:
    process = Killed(tmp_path, broker.port)
    yield process
    await process.kill()


async def test_a_download_goes_on_after_the_client_was_killed_and_the_server_started_again(
    tmp_path: Path, broker: Broker, client: Killed
) -> None:
    images, labels = some(range(30))
    blob = pack_shard(images, labels)
    n_chunks = -(-len(blob) // 128)
    hello = ServerHello(server_id="s", run="r1", network=NETWORK)
    kept = partial.path_in(tmp_path / "state")

    async def interrupted(server: FleetServer, run: str, pass_on: int) -> set[int]:
        """A task whose part is cut off after so many chunks; those that came."""
        server.chunk_bytes, came = 128, set[int]()
        ref = server.offer_shard(images, labels)
        enough = asyncio.Event()

        def lose(chunk: Chunk) -> bool:
            if chunk.digest == ref.digest:
                return False
            lost = len(came) == pass_on
            (enough.set if lost else lambda: came.add(chunk.index))()
            return lost

        server.lose = lose
        await server.say(task(synth=ref, synth_samples=30, run=run))
        await asyncio.wait_for(enough.wait(), 30)
        whole = len(kept_head()) + sum(12 + len(blob[128 * i : 128 * i + 128]) for i in came)
        while not kept.exists() or kept.stat().st_size < whole:  # what was sent is on its way
            await asyncio.sleep(0.01)
        return came

    def kept_head() -> bytes:
        return kept.read_bytes()[:56] if kept.exists() else b""

    async with served(broker) as server:
        await client.start()
        await server.hello(hello)
        await server.wait_for(Join)
        first = await interrupted(server, "r1", 5)
        await client.kill()
        with kept.open("ab") as file:  # as if it had been in the middle of a chunk
            file.write(b"\1\0\0\0\x80\0\0\0")
        await client.start()
        await server.wait_for(Join, 2)
        server.sent.clear()
        second = await interrupted(server, "r1", 4)
        await server.say(Bye(run="r1", reason="the server is gone"))
    assert first == set(range(5))
    assert second == set(range(5, 9))
    async with served(broker) as server:  # the server is started again: a new run by its name, the same samples
        await server.hello(ServerHello(server_id="s", run="r1.2", network=NETWORK))
        await server.wait_for(Join)
        server.chunk_bytes = 128
        ref = server.offer_shard(images, labels)
        await server.say(task(synth=ref, synth_samples=30, run="r1.2"))
        await server.wait_for(ShardNeeds)
        server.chunk_bytes = agents.CHUNK_BYTES
        await server.send_blob(weights(), TOPICS.model)
        assert (await server.wait_for(Update)).samples == 2 * (40 + 30)
        of_part = [chunk.index for chunk in server.sent if chunk.digest != ref.digest]
        assert of_part == list(range(9, n_chunks))
        assert not kept.exists()
    assert stored(tmp_path, images, labels)
