"""The device's data, the order of training, the runtimes, and the worker process behind its pipe."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.errors import DataError, TrainingError
from edge_client.protocol import weights
from edge_client.protocol.messages import NetworkSpec
from edge_client.protocol.shards import pack_shard
from edge_client.training import data, frames, worker_client
from edge_client.training.numpy_trainer import NumpyTrainer
from edge_client.training.trainer import Hyper
from edge_client.training.worker_client import StoppedWatch, WorkerClient

SOFTMAX = NetworkSpec(name="softmax", image_shape=(1, 2, 1), n_classes=2)


# ---- data --------------------------------------------------------------------------------------------------------


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_samples_are_read(tmp_path: Path) -> None:
    x = np.zeros((3, 4, 5, 1), np.uint8)
    found = data.load(save(tmp_path / "d.npz", x=x, y=np.array([0, 2, 2], np.uint8), n_classes=4))
    assert found.image_shape == (4, 5, 1)
    assert found.label_counts == (1, 0, 2, 0)
    assert found.labels.dtype == np.int64


def test_what_is_wrong_with_the_samples_is_said(tmp_path: Path) -> None:
    x, y = np.zeros((2, 4, 5, 1), np.uint8), np.array([0, 1])
    path = tmp_path / "d.npz"
    with pytest.raises(DataError, match="no such file; give this device's samples with --data"):
        data.load(path)
    path.write_bytes(b"not an npz")
    with pytest.raises(DataError, match="no npz file"):
        data.load(path)
    np.save(tmp_path / "d.npy", x)
    with pytest.raises(DataError, match="no npz file"):
        data.load(tmp_path / "d.npy")
    for arrays, why in (
        ({"x": x}, "n_classes, y missing"),
        ({"x": x[0], "y": y, "n_classes": 2}, "x must be uint8 of shape"),
        ({"x": x.astype(float), "y": y, "n_classes": 2}, "x must be uint8"),
        ({"x": np.zeros((2, 4, 5, 2), np.uint8), "y": y, "n_classes": 2}, "1 or 3"),
        ({"x": x[:0], "y": y[:0], "n_classes": 2}, "there is no sample"),
        ({"x": x, "y": y[:1], "n_classes": 2}, "y must be 2 whole numbers"),
        ({"x": x, "y": y.astype(float), "n_classes": 2}, "y must be 2 whole numbers"),
        ({"x": x, "y": y, "n_classes": 1}, "n_classes must be one whole number"),
        ({"x": x, "y": y, "n_classes": [2, 3]}, "n_classes must be one whole number"),
        ({"x": x, "y": y + 1, "n_classes": 2}, "labels run from 1 to 2, expected 0 to 1"),
        ({"x": x, "y": y - 1, "n_classes": 2}, "labels run from -1 to 0"),
        ({"x": np.array([None]), "y": y, "n_classes": 2}, "no npz file"),
    ):
        with pytest.raises(DataError, match=why):
            data.load(save(path, **arrays))


# ---- order -------------------------------------------------------------------------------------------------------


def test_batches_by_hand() -> None:
    found = data.batches(5, 2, 2, seed=1)
    assert [len(batch) for batch in found] == [2, 2, 1, 2, 2, 1]
    for epoch in (found[:3], found[3:]):
        assert sorted(np.concatenate(epoch).tolist()) == [0, 1, 2, 3, 4]
    again = data.batches(5, 2, 2, seed=1)
    assert all((a == b).all() for a, b in zip(found, again, strict=True))
    orders = [np.concatenate(data.batches(100, 1, 8, seed)).tolist() for seed in range(3)]
    assert orders[0] != orders[1] != orders[2]
    assert found[0].dtype == np.int32


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 9), st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_segments_share_out_all_batches_in_order(n: int, epochs: int, size: int, wanted: list[int]) -> None:
    order = data.batches(n, epochs, size, seed=7)
    total = n * epochs
    wanted = [*wanted[:-1], max(0, total - sum(wanted[:-1]))]
    dealt = data.assign(order, wanted)
    flat = [batch for segment in dealt for batch in segment]
    assert len(flat) == len(order)
    assert all(a is b for a, b in zip(flat, order, strict=True))
    if sum(wanted) == total:
        done = 0
        for segment, end in zip(dealt, np.cumsum(wanted), strict=True):
            done += sum(len(batch) for batch in segment)
            assert abs(done - end) <= size / 2


def test_segments_end_at_the_nearest_border() -> None:
    order = [np.zeros(4)] * 5
    assert [len(s) for s in data.assign(order, [5, 15])] == [1, 4]
    assert [len(s) for s in data.assign(order, [7, 13])] == [2, 3]
    assert [len(s) for s in data.assign(order, [6, 14])] == [1, 4]
    assert [len(s) for s in data.assign(order, [1, 0, 19])] == [0, 0, 5]
    assert data.assign([], [0]) == [[]]


# ---- softmax regression ------------------------------------------------------------------------------------------


def test_one_step_by_hand() -> None:
    # x = (-1, 1), label 0, w = 0: p = (1/2, 1/2), loss = ln 2, gradient of b = (-1/2, 1/2), of w = x outer that
    trainer = NumpyTrainer(SOFTMAX)
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    hyper = Hyper(learning_rate=0.5, momentum=0.5, weight_decay=0.0, clip_norm=None)
    assert trainer.train_batch(images, np.array([0]), hyper) == pytest.approx(np.log(2))
    got = trainer.weights()
    np.testing.assert_allclose(got["b"], [0.25, -0.25])
    np.testing.assert_allclose(got["w"], [[-0.25, 0.25], [0.25, -0.25]])
    got["b"][:] = 99  # a copy
    trainer.train_batch(images, np.array([0]), Hyper(1e-9, 1.0, 0.0, None))
    np.testing.assert_allclose(trainer.weights()["b"], [0.25, -0.25], atol=1e-6)


def test_clipping_and_decay_by_hand() -> None:
    # gradient norm: b (-1/2, 1/2), w four entries of 1/2: sqrt(6/4) = 1.2247; clipped to 0.12247: a tenth of it
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    trainer = NumpyTrainer(SOFTMAX)
    trainer.train_batch(images, np.array([0]), Hyper(1.0, 0.0, 0.0, np.sqrt(6) / 20))
    np.testing.assert_allclose(trainer.weights()["b"], [0.05, -0.05], rtol=1e-5)
    ones = {"w": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)}
    trainer.load(ones)
    trainer.train_batch(images, np.array([0]), Hyper(1.0, 0.0, 0.1, None))
    np.testing.assert_allclose(trainer.weights()["b"], [1 - 0.1 + 0.5, 1 - 0.1 - 0.5], rtol=1e-5)
    with pytest.raises(TrainingError, match="do not fit"):
        trainer.load({"w": ones["w"]})
    with pytest.raises(TrainingError, match="knows no network 'vgg9'"):
        NumpyTrainer(NetworkSpec(name="vgg9", image_shape=(8, 8, 1), n_classes=2))


def test_loading_starts_with_zero_momentum() -> None:
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    hyper = Hyper(0.1, 0.9, 0.0, None)
    trainer = NumpyTrainer(SOFTMAX)
    first = trainer.weights()
    trainer.train_batch(images, np.array([0]), hyper)
    once = trainer.weights()
    trainer.train_batch(images, np.array([0]), hyper)
    trainer.load(first)
    trainer.train_batch(images, np.array([0]), hyper)
    np.testing.assert_array_equal(trainer.weights()["w"], once["w"])


# ---- torch -------------------------------------------------------------------------------------------------------


def test_torch_agrees_with_a_step_done_with_its_own_tools() -> None:
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    from edge_client.training.torch_trainer import TorchTrainer
    from models.networks import build, from_arrays, initial_weights, normalise

    spec = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
    start = initial_weights("tiny", (8, 8, 1), 3, seed=1)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8), np.array([0, 1, 2, 0])
    trainer = TorchTrainer(spec)
    trainer.load(start)
    losses = [trainer.train_batch(images, labels, Hyper(0.05, 0.9, 0.01, None)) for _ in range(2)]

    module = build("tiny", (8, 8, 1), 3)
    from_arrays(module, start)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    for loss in losses:
        optimiser.zero_grad()
        expected = torch.nn.functional.cross_entropy(module(torch.from_numpy(normalise(images))), torch.tensor(labels))
        expected.backward()
        optimiser.step()
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(trainer.weights()[name], parameter.detach().numpy(), rtol=1e-4, atol=1e-6)

    trainer.load(start)
    trainer.train_batch(images, labels, Hyper(1.0, 0.0, 0.0, 1e-3))
    moved = sum(float(((trainer.weights()[name] - start[name]) ** 2).sum()) for name in start)
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(TrainingError, match="do not fit the network"):
        trainer.load({"w": start["fc.bias"]})
    with pytest.raises(TrainingError, match="no network 'x'"):
        TorchTrainer(NetworkSpec(name="x", image_shape=(8, 8, 1), n_classes=3))


# ---- the worker process ------------------------------------------------------------------------------------------


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerClient]:
    x = np.arange(6 * 2, dtype=np.uint8).reshape(6, 1, 2, 1) * 20
    path = save(tmp_path / "d.npz", x=x, y=np.array([0, 1] * 3), n_classes=2)
    handle = WorkerClient(frames.Begin(network=SOFTMAX, runtime="numpy", threads=1, data=str(path)))
    await handle.start()
    yield handle
    await handle.stop()


def command(n: int = 1, **more: float | int | None) -> frames.Train:
    values: dict[str, float | int | None] = {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0, **more}
    batch = np.array([0, 1, 2], np.int32).tobytes()
    return frames.Train(batches=(batch,) * n, **{"clip_norm": None, **values})  # type: ignore[arg-type]


async def test_a_worker_trains_as_the_trainer_does(worker: WorkerClient, tmp_path: Path) -> None:
    start = {"w": np.full((2, 2), 0.5, np.float32), "b": np.zeros(2, np.float32)}
    await worker.load(weights.pack(start))
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
    there = weights.unpack(await worker.weights())
    np.testing.assert_allclose(there["w"], here.weights()["w"], rtol=1e-6)


async def test_synthetic_samples_stand_behind_the_local_ones(worker: WorkerClient) -> None:
    white = np.full((2, 1, 2, 1), 255, np.uint8)
    assert await worker.set_shard(pack_shard(white, np.array([1, 1]))) == 8
    synth = frames.Train(
        batches=(np.array([6, 7], np.int32).tobytes(),), learning_rate=1.0, momentum=0, weight_decay=0, clip_norm=None
    )
    await worker.train(synth, lambda _: None)
    got = weights.unpack(await worker.weights())  # both pixels 1, label 1: w moves by (-1/2, +1/2) in both rows
    np.testing.assert_allclose(got["w"], [[-0.5, 0.5], [-0.5, 0.5]])
    assert await worker.set_shard(None) == 6
    for shard, why in (
        (pack_shard(np.zeros((1, 2, 2, 1), np.uint8), np.array([0])), r"the shard's images are \(2, 2, 1\)"),
        (pack_shard(white, np.array([1, 2])), "the shard has label 2 of 2 classes"),
        (b"???", "no shard"),
    ):
        with pytest.raises(TrainingError, match=why):
            await worker.set_shard(shard)
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
        await worker.load(weights.pack({"x": np.zeros(1)}))
    with pytest.raises(TrainingError, match="IndexError"):
        bad = np.array([99], np.int32).tobytes()
        await worker.train(
            frames.Train(batches=(bad,), learning_rate=1, momentum=0, weight_decay=0, clip_norm=None), lambda _: None
        )
    diverged = "not finite.*: a smaller learning_rate or a clip_norm helps"
    with pytest.raises(TrainingError, match="the loss is " + diverged):
        await worker.train(command(50, learning_rate=1e300), lambda _: None)
    await worker.load(None)
    await worker.load(weights.pack({"w": np.zeros((2, 2), np.float32), "b": np.zeros(2, np.float32)}))
    await worker.train(command(1, learning_rate=1e300), lambda _: None)  # the loss before the only step is ln 2
    with pytest.raises(TrainingError, match="weight '[bw]' holds values that are " + diverged):
        await worker.weights()
    with pytest.raises(TrainingError, match="no training runtime 'abacus'"):
        await worker.start(frames.Begin(network=SOFTMAX, runtime="abacus", threads=1, data=str(tmp_path / "d.npz")))


async def test_a_worker_that_dies_is_noticed_and_replaced(worker: WorkerClient) -> None:
    pid = worker.pid
    assert pid is not None
    started = asyncio.Event()
    long = asyncio.create_task(worker.train(command(1, for_s=600.0), lambda _: started.set()))
    await started.wait()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"the training worker ended \(exit status -9\)"):
        await asyncio.wait_for(long, 20)
    assert worker.pid is None
    await worker.start()
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
