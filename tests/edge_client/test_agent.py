"""The whole client against a real broker and a scripted server: join, profile, a round, and trouble on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from edge_client.errors import LinkError
from edge_client.protocol.messages import (
    Abort,
    Bye,
    Chunk,
    Join,
    ProfileReport,
    ProfileRequest,
    Segment,
    ServerHello,
    ShardNeeds,
    TaskClosed,
    Update,
    UpdateAck,
)
from edge_client.protocol.weights import pack, unpack
from tests.edge_client import trees
from tests.edge_client.agents import NETWORK, TOPICS, fleet, make_shell, served, shard, start_round, task, weights
from tests.edge_client.conftest import Broker
from tests.edge_client.fleet_server import CHUNK_BYTES


async def test_a_round_from_the_join_to_the_last_word(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        join = await server.wait_for(Join)
        assert join.label_counts == (14, 13, 13)
        assert join.capabilities.boundary == "board"

        await server.say(
            ProfileRequest(
                run="r1", network=NETWORK, batch_size=8, freqs_hz=(204e6, 710.4e6, 1479e6), window_s=0.2, settle_s=0.05
            )
        )
        report = await server.wait_for(ProfileReport)
        assert [point.freq_hz for point in report.points] == [204e6, 710.4e6, 1479e6]
        assert report.idle.idle_power_w == pytest.approx(2.5)
        assert report.temperature_c == 41.5
        for point in report.points:
            assert point.j_per_sample == pytest.approx(2.5 * point.s_per_sample, rel=0.01)

        images, labels = shard()
        await server.say(task(synth=server.offer_shard(images, labels)))
        await server.send_blob(weights(), TOPICS.model)
        update = await server.wait_for(Update)
        assert update.samples == 120
        assert [segment.samples for segment in update.segments] == [60, 60]
        assert [segment.requested_hz for segment in update.segments] == [710.4e6, 1479e6]
        assert 0 < update.train_loss < 1.2
        change = unpack(server.blobs[update.weights.digest])
        assert change["w"].shape == (64, 3)
        assert np.abs(change["w"]).max() > 0
        assert update.upload.bits > 8 * update.weights.size_bytes

        await server.say(UpdateAck(run="r1", round=0, status="accepted"))
        closed = await server.wait_for(TaskClosed)
        assert closed.outcome == "done"
        assert closed.samples_trained == 120
        assert closed.energy.energy_j == pytest.approx(2.5 * closed.energy.duration_s, rel=0.02)
        assert closed.energy.added_j == pytest.approx(0.0, abs=0.02 * closed.energy.duration_s * 2.5)
        assert closed.bytes_received > images.nbytes + len(weights())  # noise does not get smaller
        assert any(beat.state == "ready" for beat in server.heartbeats)
    policy = tmp_path / "root" / trees.POLICY
    assert (policy / "scaling_governor").read_text().strip() == "schedutil"
    assert not (tmp_path / "root/run/fimi/settings.json").exists()


async def test_lost_chunks_are_asked_for_by_index(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        model = pack({"w": np.zeros((64, 3), np.float32), "b": np.zeros(3, np.float32)})
        lost: set[tuple[str, int]] = set()

        def lose(chunk: Chunk) -> bool:
            """The first sending of every chunk but the last."""
            first = (chunk.digest, chunk.index) not in lost and chunk.index + 1 < chunk.count
            lost.add((chunk.digest, chunk.index))
            return first

        server.chunk_bytes = 128  # so that there are many
        server.lose = lose
        await server.say(task(synth=server.offer_shard(*shard()), model=model))
        await server.wait_for(ShardNeeds)  # the part has been cut by now
        server.chunk_bytes = CHUNK_BYTES
        await server.send_blob(model, TOPICS.model)
        update = await server.wait_for(Update)
        assert update.samples == 120
        assert len(lost) > 8


async def test_the_same_task_again_is_answered_from_memory_even_through_a_broken_line(
    tmp_path: Path, broker: Broker
) -> None:
    async with fleet(tmp_path, broker) as (server, shell):
        work = task()
        await start_round(server, work, weights())
        first = await server.wait_for(Update)
        await server.say(UpdateAck(run="r1", round=0, status="accepted"))
        first_word = await server.wait_for(TaskClosed)
        pid = shell._work.worker.pid

        server.forget()
        await server.say(work)
        again = await server.wait_for(Update, 2)
        assert again == first
        assert server.blobs[again.weights.digest]
        await server.say(UpdateAck(run="r1", round=0, status="duplicate"))
        assert await server.wait_for(TaskClosed, 2) == first_word
        assert shell._work.worker.pid == pid


async def test_the_task_lives_through_a_reconnection(tmp_path: Path, broker: Broker) -> None:
    shell = make_shell(tmp_path, broker.port)
    running = asyncio.create_task(shell.run())
    try:
        async with served(broker) as server:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            await server.wait_for(Join)
            model = weights()
            await server.say(task(model=model, local_epochs=40, segments=(Segment(freq_hz=None, samples=1600),)))
            await server.send_blob(model, TOPICS.model)
            while shell._state.phase != "training":
                await asyncio.sleep(0.005)
        broker.stop()
        while shell._state.phase != "sending":  # it trains on without a line
            await asyncio.sleep(0.01)
        broker.start()
        async with served(broker) as server:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            update = await server.wait_for(Update)
            assert update.samples == 1600
            await server.say(UpdateAck(run="r1", round=0, status="accepted"))
            assert (await server.wait_for(TaskClosed)).outcome == "done"
    finally:
        shell.stop("the test is over")
        await asyncio.wait_for(running, 30)


async def test_abort_closes_with_the_joules_spent_and_the_next_round_works(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, shell):
        long = task(local_epochs=10_000, segments=(Segment(freq_hz=204e6, samples=400_000),))
        await start_round(server, long, weights())
        while shell._work.samples_done == 0:
            await asyncio.sleep(0.005)
        policy = tmp_path / "root" / trees.POLICY
        assert (policy / "scaling_setspeed").read_text().strip() == "204000"
        beats = len(server.heartbeats)
        while len(server.heartbeats) < beats + 2:  # the heart beats on during training
            await asyncio.sleep(0.01)
        assert server.heartbeats[-1].state == "training"
        assert server.heartbeats[-1].freq_hz == 204e6

        await server.say(Abort(run="r1", round=0, reason="the quorum is complete"))
        closed = await server.wait_for(TaskClosed)
        assert (closed.outcome, closed.reason) == ("aborted", "the quorum is complete")
        assert 0 < closed.samples_trained < 400_000
        assert closed.energy.energy_j is not None
        assert closed.energy.energy_j > 0
        assert (policy / "scaling_governor").read_text().strip() == "schedutil"

        await start_round(server, task(1), weights())
        update = await server.wait_for(Update)
        assert (update.round, update.samples) == (1, 80)


async def test_the_deadline_drops_the_task(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        await server.say(task(deadline_s=0.2))  # and the model never comes
        closed = await server.wait_for(TaskClosed)
        assert (closed.outcome, closed.samples_trained) == ("deadline", 0)


async def test_the_lease_counts_while_the_line_is_down_and_training_goes_on(tmp_path: Path, broker: Broker) -> None:
    shell = make_shell(tmp_path, broker.port)
    running = asyncio.create_task(shell.run())
    policy = tmp_path / "root" / trees.POLICY
    try:
        async with served(broker) as server:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            await server.wait_for(Join)
            long = task(local_epochs=10_000, segments=(Segment(freq_hz=204e6, samples=400_000),), lease_s=0.1)
            await start_round(server, long, weights())
            beats = len(server.heartbeats)
            while len(server.heartbeats) < beats + 20:  # a second, and two looks at the lease: no word, but a line
                await asyncio.sleep(0.01)
            assert not shell._state.lease_lost
            assert (policy / "scaling_governor").read_text().strip() == "userspace"
        broker.stop()
        while not shell._state.lease_lost:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        assert (policy / "scaling_governor").read_text().strip() == "schedutil"
        assert shell._state.phase == "training"
        broker.start()
        async with served(broker) as server:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            await server.wait_for(Join)
            assert not shell._state.lease_lost
            await server.say(Bye(run="r1", reason="enough"))
            closed = await server.wait_for(TaskClosed)
            assert (closed.outcome, closed.reason) == ("aborted", "the run is over: enough")
    finally:
        shell.stop("the test is over")
        await asyncio.wait_for(running, 30)


async def test_weights_that_do_not_fit_close_the_task_as_failed(tmp_path: Path, broker: Broker) -> None:
    async with fleet(tmp_path, broker) as (server, _):
        model = pack({"x": np.zeros(3, np.float32)})
        await start_round(server, task(model=model), model)
        closed = await server.wait_for(TaskClosed)
        assert closed.outcome == "failed"
        assert "do not fit the network" in closed.reason
        await start_round(server, task(1), weights())
        assert (await server.wait_for(Update)).round == 1


async def test_a_broker_that_refuses_this_client_ends_it(tmp_path: Path, broker: Broker) -> None:
    broker.stop()
    broker.allow("allow_anonymous false")
    broker.start()
    shell = make_shell(tmp_path, broker.port)
    with pytest.raises(LinkError, match="it does not let us in .*; give --broker a user and password"):
        await asyncio.wait_for(shell.run(), 30)
