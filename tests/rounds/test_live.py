"""The fleet shell against a real broker and devices that keep the protocol - or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import NetworkSpec, ProfileRequest, Segment, ServerHello, ShardNeeds, Task
from edge_client.protocol.tasks import end
from edge_client.protocol.weights import pack
from server.broker import embedded_broker
from server.config import FleetConfig, RunConfig
from server.errors import FleetError
from server.rounds.enrolment import enrol_devices
from server.rounds.live import LiveFleet, open_fleet
from server.rounds.round_run import RoundJob, RoundOutcome
from server.rounds.samples import Shard
from tests.rounds.fake_device import FakeDevice

NETWORK = NetworkSpec(name="tiny", image_shape=(4, 4, 1), n_classes=2)
HELLO = ServerHello(server_id="s", run="r", network=NETWORK)
WEIGHTS = {"a": np.zeros((2, 3), np.float32), "b": np.full(50, 2.0, np.float32)}
CHUNK = 64
DEADLINE_S = 20.0


class Table:
    """A fleet with its devices around it."""

    def __init__(self, fleet: LiveFleet, devices: dict[str, FakeDevice], events: list[tuple[str, dict[str, Any]]]):
        self.fleet, self.devices, self.events = fleet, devices, events

    async def round(self, number: int = 1, quorum: int | None = None, deadline_s: float = DEADLINE_S,
                    shards: dict[str, Shard] | None = None) -> RoundOutcome:  # fmt: skip
        model = pack(WEIGHTS)
        shards = shards or {}
        tasks = {
            device: task_of(number, blob_ref(model, CHUNK), shards.get(device), sum(fake.label_counts))
            for device, fake in self.devices.items()
        }
        job = RoundJob(
            run="r",
            round=number,
            tasks=tasks,
            weights=WEIGHTS,
            model=model,
            shards=shards,
            quorum=len(tasks) if quorum is None else quorum,
            deadline_s=deadline_s,
        )
        return await self.fleet.run_round(job)


def task_of(number: int, model: Any, shard: Shard | None, local: int) -> Task:
    return Task(
        run="r",
        round=number,
        network=NETWORK,
        model=model,
        shard=None if shard is None else blob_ref(shard.packed_list, CHUNK),
        local_epochs=1,
        local_samples=local,
        synth_samples=0 if shard is None else len(shard),
        batch_size=2,
        learning_rate=0.1,
        momentum=0.0,
        weight_decay=0.0,
        clip_norm=None,
        seed=0,
        segments=(Segment(freq_hz=1e9, samples=local),),
        tx_power_w=None,
        upload_bits_per_s=None,
        chunk_bytes=CHUNK,
        deadline_s=60.0,
        lease_s=60.0,
    )


@asynccontextmanager
async def fleet_of(folder: Path, *devices: dict[str, Any]) -> AsyncIterator[Table]:
    """An embedded broker, a fleet and fakes named d0, d1, ..."""
    events: list[tuple[str, dict[str, Any]]] = []
    with embedded_broker("127.0.0.1", 0, folder) as address:
        async with open_fleet(address, "f", HELLO, lambda kind, **fields: events.append((kind, fields))) as fleet:
            fakes = {f"d{i}": FakeDevice(f"d{i}", "f", address.port, **d) for i, d in enumerate(devices)}
            running = [asyncio.create_task(fake.run()) for fake in fakes.values()]
            try:
                await fleet.enrol(len(fakes), DEADLINE_S, frozenset(fakes))
                yield Table(fleet, fakes, events)
            finally:
                await end(*running)
                for task in running:
                    if not task.cancelled():
                        task.result()


async def test_a_round_averages_by_the_samples_the_server_gave(tmp_path: Path) -> None:
    """Changes 1 and 4 of devices with 4 and 2 samples: mean (4*1 + 2*4)/6 = 2."""
    async with fleet_of(tmp_path, {"change": 1.0}, {"change": 4.0, "label_counts": (2, 0)}) as table:
        outcome = await table.round()
    assert outcome.state.complete
    assert outcome.state.verdicts == {"d0": "accepted", "d1": "accepted"}
    assert {closed.outcome for closed in outcome.state.closed} == {"done"}
    moved = outcome.mean.moved(WEIGHTS)
    np.testing.assert_array_equal(moved["a"], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(moved["b"], np.full(50, 4.0))


async def test_lost_chunks_are_asked_for_and_sent_again(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {"lose": {0, 3}}, {}) as table:
        outcome = await table.round()
    assert outcome.state.complete


async def test_an_update_that_comes_twice_counts_once(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {"twice": True}) as table:
        outcome = await table.round(quorum=1)
        acks = [ack.status for ack in table.devices["d0"].acks]
    assert outcome.mean.updates == 1
    assert acks == ["accepted", "duplicate"]


async def test_a_quorum_ends_the_round_and_the_rest_is_told_to_stop(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {}, {"silent": True}) as table:
        outcome = await table.round(quorum=1)
        assert [abort.round for abort in table.devices["d1"].aborts] == [1]
    assert outcome.state.complete
    assert {c.device: c.outcome for c in outcome.state.closed} == {"d0": "done", "d1": "aborted"}


async def test_the_deadline_ends_a_round_without_quorum(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {}, {"silent": True}) as table:
        outcome = await table.round(deadline_s=0.5)
    assert not outcome.state.complete
    assert len(outcome.state.updates) == 1
    assert {closed.device for closed in outcome.state.closed} == {"d0", "d1"}


async def test_a_wrong_update_is_rejected_and_the_round_ends_at_once(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {"wrong_shape": True}) as table:
        outcome = await table.round()
        (ack,) = table.devices["d0"].acks
    assert (ack.status, outcome.state.complete) == ("rejected", False)
    assert "shape" in ack.reason


async def test_a_refusal_puts_the_quorum_out_of_reach(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {"refuse": True}, {"silent": True}) as table:
        outcome = await table.round()
    assert outcome.state.out == {"d0": "not today"}
    assert not outcome.state.complete


def some_samples(n: int = 40) -> Shard:
    x = np.random.default_rng(0).integers(0, 255, (n, 4, 4, 1)).astype(np.uint8)
    return Shard(x, np.arange(n) % 2)


def chunks_of(blob: bytes) -> int:
    return -(-len(blob) // CHUNK)


async def test_a_device_is_sent_what_it_lacks(tmp_path: Path) -> None:
    all_of_it = some_samples(50)
    first, second = (Shard(all_of_it.images[part], all_of_it.labels[part]) for part in (slice(40), slice(10, 50)))
    lacking = np.array([False] * 30 + [True] * 10)
    async with fleet_of(tmp_path, {}) as table:
        device = table.devices["d0"]
        outcomes, received = [], [0]
        for number, shard in enumerate((first, first, second), 1):
            outcomes.append((await table.round(number, shards={"d0": shard})).samples)
            received.append(device.chunks_received)
    model = chunks_of(pack(WEIGHTS))
    assert device.asked == [40, 0, 10]
    np.testing.assert_array_equal(device.shards[0][0], first.images)
    np.testing.assert_array_equal(device.shards[2][0], second.images)
    np.testing.assert_array_equal(device.shards[2][1], second.labels)
    whole, rest = chunks_of(first.part(np.ones(40, bool))), chunks_of(second.part(lacking))
    a_list = chunks_of(first.packed_list)
    assert received[1] == model + a_list + whole
    assert received[2] - received[1] <= model  # the model may come again, samples and list may not
    assert received[3] - received[2] <= model + a_list + rest
    (one,), nothing, (three,) = outcomes
    assert (one.sent, one.spared, one.bytes_spared) == (40, 0, 0)
    assert one.bytes_sent == len(first.packed_list) + len(first.part(np.ones(40, bool)))
    assert nothing == ()  # the set is the one before: nothing is sent, and nothing counts as spared
    assert (three.sent, three.spared) == (10, 30)
    assert three.bytes_sent == len(second.packed_list) + len(second.part(lacking))
    assert three.bytes_spared == len(second.part(~lacking))  # all 30 are weighed, for they are few


async def test_needs_that_fit_no_shard_are_noted_and_those_of_another_round_ignored(tmp_path: Path) -> None:
    shard = some_samples(40)
    async with fleet_of(tmp_path, {"silent": True}) as table:
        device = table.devices["d0"]
        running = asyncio.create_task(table.round(1, shards={"d0": shard}, deadline_s=2.0))
        await asyncio.wait_for(device.seen.wait(), 10)
        assert device.task is not None and device.task.shard is not None
        of_list = device.task.shard.digest
        for number, listing, bits in ((1, of_list, b"\xff"), (9, of_list, b""), (1, "0" * 64, b"")):
            needs = ShardNeeds(device="d0", run="r", round=number, shard=listing, lacking=bits)
            await device._send(needs)
        await running
        errors = [fields["reason"] for kind, fields in table.events if kind == "protocol-error"]
    assert errors == ["1 bytes do not say which of 40 samples are meant"]


async def test_profiles_come_from_all_at_once_and_a_starved_one_is_measured_again(tmp_path: Path) -> None:
    config = RunConfig(fleet=FleetConfig(devices=2))
    async with fleet_of(tmp_path, {}, {"starve_once": True}) as table:
        enrolled = await enrol_devices(table.fleet, config, NETWORK, "r", WEIGHTS, 1)
    assert [device.id for device in enrolled] == ["d0", "d1"]
    assert all(not point.starved for device in enrolled for point in device.profile.points)
    assert [point.freq_hz for point in enrolled[0].profile.points] == [
        1.5e9,
        1.0e9,
    ]  # 0.5e9 is too slow
    # 8 bits a byte in 0.5 s; (2 J - 2 W * 0.5 s) / 0.5 s = 2 W above idle
    assert enrolled[0].link.up_bits_per_s == enrolled[0].link.up_bits / 0.5
    assert enrolled[0].link.power_w == pytest.approx(2.0)


async def test_too_few_devices_are_one_clear_sentence(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {}) as table:
        with pytest.raises(FleetError, match=r"1 of 2 devices joined within 0\.2 s; missing: nano"):
            await table.fleet.enrol(2, 0.2, frozenset({"d0", "nano"}))


async def test_a_profile_that_does_not_come_names_the_device(tmp_path: Path) -> None:
    request = ProfileRequest(run="r", network=NETWORK, batch_size=2, freqs_hz=(1e9,), window_s=1.0, settle_s=0.0)
    async with fleet_of(tmp_path, {}) as table:
        with pytest.raises(FleetError, match="no profile within 0 s from ghost"):
            await table.fleet.profile({"ghost": request}, 0.2)


async def test_an_interrupted_round_keeps_what_devices_say_about_it(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, {"silent": True}) as table:
        running = asyncio.create_task(table.round())
        await table.devices["d0"].seen.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        (closed,) = table.fleet.take_stray()
    assert closed.outcome == "aborted"
