"""The worker process behind its pipe."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_client.errors import TrainingError
from edge_client.protocol import weights
from edge_client.protocol.shards import pack_list
from edge_client.training import data, frames, worker_client
from edge_client.training.numpy_trainer import NumpyTrainer
from edge_client.training.store import SampleStore
from edge_client.training.trainer import Hyper
from edge_client.training.worker_client import StoppedWatch, WorkerClient
from tests.edge_client.samples import SOFTMAX, save


def begin_in(folder: Path) -> frames.Begin:
    return frames.Begin(network=SOFTMAX, runtime="numpy", threads=1, data=str(folder / "d.npz"), samples=str(folder))


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerClient]:
    x = np.arange(6 * 2, dtype=np.uint8).reshape(6, 1, 2, 1) * 20
    save(tmp_path / "d.npz", x=x, y=np.array([0, 1] * 3), n_classes=2)
    handle = WorkerClient(threads=1)
    await handle.start(begin_in(tmp_path))
    yield handle
    await handle.stop()


ZERO = {"w": np.zeros((2, 2), np.float32), "b": np.zeros(2, np.float32)}


def model_in(folder: Path, own: dict[str, np.ndarray]) -> Path:
    (folder / "model.safetensors").write_bytes(weights.pack(own))
    return folder / "model.safetensors"


def command(n: int = 1, **more: float | int | None) -> frames.Train:
    values: dict[str, float | int | None] = {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0, **more}
    batch = np.array([0, 1, 2], np.int32).tobytes()
    return frames.Train(batches=(batch,) * n, **{"clip_norm": None, **values})  # type: ignore[arg-type]


async def test_a_worker_trains_as_the_trainer_does(worker: WorkerClient, tmp_path: Path) -> None:
    start = {"w": np.full((2, 2), 0.5, np.float32), "b": np.zeros(2, np.float32)}
    await worker.load(model_in(tmp_path, start))
    seen: list[frames.Progress] = []
    done = await worker.train(command(3), seen.append)
    assert [progress.samples for progress in seen] == [3, 3, 3]
    assert done.started < seen[0].t < seen[1].t < seen[2].t <= done.t
    assert not done.halted

    here = NumpyTrainer(SOFTMAX)
    here.load(start)
    local = data.load(tmp_path / "d.npz")
    losses = [here.train_batch(local.images[:3], local.labels[:3], Hyper(0.1, 0.0, 0.0, None)) for _ in range(3)]
    assert [progress.loss for progress in seen] == pytest.approx(losses)
    there = weights.unpack(await worker.change())
    np.testing.assert_allclose(there["w"], here.weights()["w"] - start["w"], rtol=2**-11)  # a float16 has 11 bits


async def test_synthetic_samples_stand_behind_the_local_ones(worker: WorkerClient, tmp_path: Path) -> None:
    white, ones = np.full((2, 1, 2, 1), 255, np.uint8), np.array([1, 1])
    store = SampleStore(tmp_path, (1, 2, 1), 4)
    store.add(white, np.array([1, 2]))
    assert await worker.set_shard(pack_list(white, ones)) == 8
    synth = frames.Train(
        batches=(np.array([6, 7], np.int32).tobytes(),), learning_rate=1.0, momentum=0, weight_decay=0, clip_norm=None
    )
    await worker.load(model_in(tmp_path, ZERO))
    await worker.train(synth, lambda _: None)
    got = weights.unpack(await worker.change())  # both pixels 1, label 1: w moves by (-1/2, +1/2) in both rows
    np.testing.assert_allclose(got["w"], [[-0.5, 0.5], [-0.5, 0.5]])
    assert await worker.set_shard(None) == 6
    whole = pack_list(white, ones)
    for listing, why in (
        (pack_list(np.zeros((1, 2, 2, 1), np.uint8), np.array([0])), r"the shard's images are \(2, 2, 1\)"),
        (pack_list(white, np.array([1, 2])), "the shard has label 2 of 2 classes"),
        (pack_list(white // 2, ones), "not on disk any more"),
        (whole.replace(whole[12:44], bytes(32)), "their digest is another one"),
        (b"???", "no list"),
    ):
        with pytest.raises(TrainingError, match=why):
            await worker.set_shard(listing)
    assert await worker.set_shard(None) == 6  # a problem leaves the worker as it was


async def test_training_for_a_time_goes_round(worker: WorkerClient) -> None:
    seen: list[frames.Progress] = []
    done = await worker.train(command(2, for_s=0.05, min_batches=3), seen.append)
    assert len(seen) >= 3
    assert done.t - done.started >= 0.05
    few = await worker.train(command(2, for_s=0.0, min_batches=5), seen.append)
    assert few.t >= few.started
    none = await worker.train(
        frames.Train(batches=(), learning_rate=1, momentum=0, weight_decay=0, clip_norm=None), seen.append
    )
    assert not none.halted


async def test_cancelling_halts_the_worker_and_it_can_be_used_again(worker: WorkerClient) -> None:
    started = asyncio.Event()
    long = asyncio.create_task(worker.train(command(1, for_s=600.0), lambda _: started.set()))
    await started.wait()
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)
    pid = worker.pid
    seen: list[frames.Progress] = []
    done = await asyncio.wait_for(worker.train(command(2), seen.append), 20)
    assert not done.halted
    assert len(seen) == 2
    assert worker.pid == pid


async def test_problems_are_told_and_survived(worker: WorkerClient, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="do not fit the network"):
        await worker.load(model_in(tmp_path, {"x": np.zeros(1)}))
    (tmp_path / "junk").write_bytes(b"junk")
    for path in (tmp_path / "junk", tmp_path / "none"):
        with pytest.raises(TrainingError, match=f"{path} holds no safetensors weights"):
            await worker.load(path)
    with pytest.raises(TrainingError, match="IndexError"):
        bad = np.array([99], np.int32).tobytes()
        await worker.train(
            frames.Train(batches=(bad,), learning_rate=1, momentum=0, weight_decay=0, clip_norm=None), lambda _: None
        )
    diverged = "not finite.*: a smaller learning_rate or a clip_norm helps"
    with pytest.raises(TrainingError, match="the loss is " + diverged):
        await worker.train(command(50, learning_rate=1e300), lambda _: None)
    await worker.load(None)
    with pytest.raises(TrainingError, match="no weights were loaded that a change could be told from"):
        await worker.change()
    await worker.load(model_in(tmp_path, ZERO))
    await worker.train(command(1, learning_rate=1e300), lambda _: None)  # the loss before the only step is ln 2
    with pytest.raises(TrainingError, match="the change is too large: weight '[bw]' holds values that are " + diverged):
        await worker.change()
    with pytest.raises(TrainingError, match="no training runtime 'abacus'"):
        await worker.start(frames.Begin(network=SOFTMAX, runtime="abacus", threads=1, data=str(tmp_path / "d.npz")))


async def test_a_trainer_stays_on_its_cpus(worker: WorkerClient, tmp_path: Path) -> None:
    one = min(os.sched_getaffinity(0))
    begin = frames.Begin(network=SOFTMAX, runtime="numpy", threads=1, data=str(tmp_path / "d.npz"), cpus=(one,))
    await worker.start(begin)
    assert worker.pid is not None
    assert os.sched_getaffinity(worker.pid) == {one}
    with pytest.raises(TrainingError, match="cpus 4096: Invalid argument; this process may use"):
        await worker.start(msgspec.structs.replace(begin, cpus=(4096,)))


async def test_a_worker_that_dies_is_noticed_and_replaced(worker: WorkerClient, tmp_path: Path) -> None:
    pid = worker.pid
    assert pid is not None
    started = asyncio.Event()
    long = asyncio.create_task(worker.train(command(1, for_s=600.0), lambda _: started.set()))
    await started.wait()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TrainingError, match="the training worker was killed: memory ran out, or somebody did"):
        await asyncio.wait_for(long, 20)
    assert worker.pid is None
    await worker.start(begin_in(tmp_path))
    assert worker.pid not in (None, pid)
    await worker.train(command(1), lambda _: None)


async def test_a_worker_that_nobody_continues_is_killed(worker: WorkerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_client, "STOPPED_S", 0.3)
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TrainingError, match="was stopped and not continued"):
        await asyncio.wait_for(worker.train(command(1), lambda _: None), 20)
    assert worker.pid is None


async def test_a_begin_that_was_cancelled_is_done_again(worker: WorkerClient, tmp_path: Path) -> None:
    """Else the worker would train with what the cancelled one had begun."""
    first = worker._begin
    x = np.zeros((2, 1, 2, 1), np.uint8)
    other = frames.Begin(
        network=SOFTMAX, runtime="numpy", threads=1, data=str(save(tmp_path / "e.npz", x=x, y=[0, 1], n_classes=2))
    )
    beginning = asyncio.create_task(worker.start(other))
    await asyncio.sleep(0)  # it has sent its command, and waits
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    await worker.start(first)
    assert await worker.set_shard(None) == 6  # the first one's samples, not the two of the other


def test_held_back_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_client.STOPPED_S == 10.0
    monkeypatch.setattr(worker_client, "STOPPED_S", 3.0)
    watch = StoppedWatch()
    assert not watch.observe(0.0, True, 5)
    assert not watch.observe(3.0, True, 5)
    assert watch.observe(3.1, True, 5)
    watch = StoppedWatch()
    assert not watch.observe(0.0, True, 5)
    assert not watch.observe(2.9, True, 6)  # it ran in between
    assert not watch.observe(5.8, True, 6)
    assert not watch.observe(5.85, False, 6)
    assert not watch.observe(9.0, True, 6)
    assert watch.observe(12.1, True, 6)
    for t in range(20):
        assert not watch.observe(100.0 + t, False, 6)


def test_the_state_of_a_process_is_read() -> None:
    stopped, cpu_s = worker_client.read_stat(os.getpid())
    assert not stopped
    assert cpu_s > 0
    assert worker_client.read_stat(2**22 + 1) == (False, 0.0)
