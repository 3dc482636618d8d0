"""A worker that trains by graphs: what it does with good ones, with others, and within a bound on memory."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from edge_client.errors import TrainingError
from edge_client.protocol import graphs, weights
from edge_client.protocol.graphs import Bundle
from edge_client.protocol.messages import NetworkSpec
from edge_client.training import frames, memory
from edge_client.training.worker import Worker
from edge_client.training.worker_client import WorkerClient
from models.networks import initial_weights
from server.export.bundle import make_bundle
from server.export.step import Options

NET = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
OPTIONS = Options(clip=True, weight_decay=True)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle(NET, "numpy", OPTIONS)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerClient]:
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "d.npz", x=rng.integers(0, 256, (24, 8, 8, 1), dtype=np.uint8), y=np.arange(24) % 3, n_classes=3
    )
    handle = WorkerClient(threads=1)
    yield handle
    await handle.stop()


def begin(folder: Path, bundle: Bundle, **more: object) -> frames.Begin:
    blob = graphs.pack(bundle)
    path = folder / f"{graphs.digest(blob)}.fimi"
    path.write_bytes(blob)
    given: dict[str, object] = {
        "network": NET, "runtime": bundle.runtime, "threads": 1, "data": str(folder / "d.npz"),
        "samples": str(folder), "graphs": str(path), **more,
    }  # fmt: skip
    return frames.Begin(**given)  # type: ignore[arg-type]


def train(size: int = 8) -> frames.Train:
    batch = np.arange(size, dtype=np.int32).tobytes()
    return frames.Train(batches=(batch,) * 2, learning_rate=0.05, momentum=0.9, weight_decay=0.0, clip_norm=None)


async def test_a_worker_trains_by_graphs_evaluates_and_writes_the_change(
    worker: WorkerClient, tmp_path: Path, bundle: Bundle
) -> None:
    await worker.start(begin(tmp_path, bundle))
    await worker.set_shard(None)
    first = initial_weights("tiny", NET.image_shape, 3, 0)
    (tmp_path / "m").write_bytes(weights.pack(first))
    await worker.load(tmp_path / "m")
    losses: list[float] = []
    seen = await worker.evaluate()
    await worker.train(train(24), lambda progress: losses.append(progress.loss))
    assert seen.samples == 24
    assert seen.loss == pytest.approx(losses[0], rel=1e-5)  # the first batch is all of the device's samples
    assert seen.accuracy in [k / 24 for k in range(25)]
    await worker.write_change(tmp_path / "c")
    change = weights.unpack((tmp_path / "c").read_bytes())
    assert {name: array.shape for name, array in change.items()} == {name: own.shape for name, own in first.items()}
    assert max(float(np.abs(array).max()) for array in change.values()) > 0
    await worker.train(train(), lambda _: None)  # after a rest, too


async def test_graphs_that_do_not_fit_are_named(worker: WorkerClient, tmp_path: Path, bundle: Bundle) -> None:
    other = msgspec.structs.replace(NET, n_classes=4)
    for begun, said in (
        (begin(tmp_path, bundle, network=other), "the graphs are of NetworkSpec.*n_classes=3.*, not of NetworkSpec"),
        (begin(tmp_path, bundle, runtime="onnx"), "fimi are for runtime numpy, not onnx"),
        (begin(tmp_path, bundle, graphs=None), "runtime numpy trains by graphs, and there are none of tiny"),
        (
            begin(tmp_path, bundle, graphs=str(tmp_path / "no")),
            "no: No such file or directory; it should hold the graphs",
        ),
    ):
        with pytest.raises(TrainingError, match=said):
            await worker.start(begun)
    await worker.start(begin(tmp_path, bundle))
    (tmp_path / "m").write_bytes(weights.pack({"x": np.zeros(1)}))
    with pytest.raises(TrainingError, match="the weights are of another network"):
        await worker.load(tmp_path / "m")
    decayed = msgspec.structs.replace(train(), prox=0.1)
    with pytest.raises(TrainingError, match=r"the task has prox 0\.1, and its graphs were exported without"):
        await worker.train(decayed, lambda _: None)


@pytest.mark.parametrize("runtime", ["onnx", "tflite"])
async def test_a_model_that_the_runtime_does_not_take_is_named(
    worker: WorkerClient, tmp_path: Path, bundle: Bundle, runtime: str
) -> None:
    pytest.importorskip("onnxruntime" if runtime == "onnx" else "ai_edge_litert", reason="the runtime is not installed")
    broken = msgspec.structs.replace(bundle, runtime=runtime, batch=None, parts={"step": b"junk"})
    await worker.start(begin(tmp_path, broken))
    await worker.set_shard(None)
    with pytest.raises(TrainingError, match="does not take the graph step"):
        await worker.train(train(), lambda _: None)


async def test_an_opset_that_is_too_new_is_named(worker: WorkerClient, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the runtime is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    own = make_bundle(NET, "onnx", OPTIONS)
    model = onnx.load_from_string(own.parts["step"])
    model.opset_import[0].version = 99
    await worker.start(begin(tmp_path, msgspec.structs.replace(own, parts={"step": model.SerializeToString()})))
    await worker.set_shard(None)
    with pytest.raises(TrainingError, match="does not take the graph step.*pset 99"):
        await worker.train(train(), lambda _: None)


@pytest.mark.parametrize("runtime", ["numpy", "onnx", "tflite"])
async def test_graphs_whose_inputs_or_outputs_do_not_fit_are_named(
    worker: WorkerClient, tmp_path: Path, runtime: str
) -> None:
    if runtime != "numpy":
        pytest.importorskip("onnxruntime" if runtime == "onnx" else "ai_edge_litert", reason="it is not installed")
    own = make_bundle(NET, runtime, OPTIONS, batch=8 if runtime == "tflite" else None)  # type: ignore[arg-type]
    for step, said in (
        (own.parts["evaluate"], "the graph step gives no loss: it is not what its name says"),
        (own.parts["gradient"], "wants s|wants samples"),
        (own.parts["apply"], "wants s"),
    ):
        swapped = msgspec.structs.replace(own, parts={**own.parts, "step": step})
        await worker.start(begin(tmp_path, swapped))
        await worker.set_shard(None)
        with pytest.raises(TrainingError, match=said):
            await worker.train(train(), lambda _: None)
    missing = msgspec.structs.replace(own, parts={"evaluate": own.parts["evaluate"]})
    await worker.start(begin(tmp_path, missing))
    await worker.set_shard(None)
    with pytest.raises(TrainingError, match="the bundle has no graph step"):
        await worker.train(train(), lambda _: None)


@pytest.mark.parametrize("runtime", ["numpy", "onnx", "torch"])
async def test_memory_that_runs_out_ends_the_task_and_not_the_worker(
    worker: WorkerClient, tmp_path: Path, runtime: str
) -> None:
    if runtime != "numpy":
        pytest.importorskip("onnxruntime" if runtime == "onnx" else "torch", reason="the runtime is not installed")
    net = NetworkSpec(name="small", image_shape=(32, 32, 3), n_classes=3)
    own = make_bundle(net, "numpy" if runtime == "torch" else runtime, OPTIONS)  # type: ignore[arg-type]
    np.savez(tmp_path / "d.npz", x=np.zeros((64, 32, 32, 3), np.uint8), y=np.arange(64) % 3, n_classes=3)
    await worker.start(begin(tmp_path, own, network=net, runtime=runtime))
    await worker.set_shard(None)
    pid = worker.pid
    assert pid is not None
    free = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (psutil.Process(pid).memory_info().vms + (2 << 20), free[1]))
    with pytest.raises(TrainingError, match="(?i)memory|alloc"):
        await worker.train(train(64), lambda _: None)
    resource.prlimit(pid, resource.RLIMIT_AS, free)
    await worker.train(train(64), lambda _: None)
    assert worker.pid == pid


@pytest.mark.parametrize("runtime", ["numpy", "onnx", "torch"])
async def test_a_bound_on_memory_that_leaves_nothing_is_said_each_time(
    worker: WorkerClient, tmp_path: Path, runtime: str
) -> None:
    if runtime != "numpy":
        pytest.importorskip("onnxruntime" if runtime == "onnx" else "torch", reason="the runtime is not installed")
    own = make_bundle(NET, "numpy" if runtime == "torch" else runtime, OPTIONS)  # type: ignore[arg-type]
    await worker.start(begin(tmp_path, own, runtime=runtime, memory_bytes=1 << 20))
    await worker.set_shard(None)
    for work in (worker.train(train(), lambda _: None), worker.train(train(), lambda _: None), worker.evaluate()):
        with pytest.raises(TrainingError, match="for one image, and memory_limit leaves it 1 MB"):
            await work


async def test_with_a_bound_on_memory_no_process_remembers_another_network(
    worker: WorkerClient, tmp_path: Path, bundle: Bundle
) -> None:
    """Its peak would be that of the larger one."""
    await worker.start(begin(tmp_path, bundle, memory_bytes=4 << 30))
    first = worker.pid
    await worker.start(begin(tmp_path, bundle, memory_bytes=4 << 30))
    assert worker.pid == first
    await worker.start(begin(tmp_path, bundle, memory_bytes=2 << 30))
    assert worker.pid != first


# ---- in this process: how a worker splits batches ------------------------------------------------------------------


class Sizes:
    """A trainer that takes so many bytes an image; what it was asked to do at once."""

    at_once: int | None = None

    def __init__(self) -> None:
        self.rehearsed: list[int] = []

    def rehearse(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.rehearsed.append(len(labels))

    def weights(self) -> dict[str, np.ndarray]:
        return {"w": np.zeros(50, np.float32)}  # 200 bytes, which are spared


def test_a_worker_splits_batches_to_fit_and_looks_again_at_larger_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, own = Sizes(), Worker(None)  # type: ignore[arg-type]
    monkeypatch.setattr(memory, "peak_bytes", lambda: 1_000 + 100 * max(trainer.rehearsed))
    monkeypatch.setattr(memory.fitting, "__defaults__", (memory.peak_bytes,))
    own._trainer = trainer  # type: ignore[assignment]
    own._labels, own._images = np.zeros(5, np.int64), np.zeros((5, 2, 2, 1), np.uint8)
    own._memory_bytes = 1_000 + 200 + 2_000  # twenty images fit
    own._fit(8)
    assert (trainer.rehearsed, trainer.at_once) == ([1, 2, 4, 8], None)  # whole batches
    own._fit(6)
    own._fit(8)
    assert len(trainer.rehearsed) == 4
    own._fit(32)  # a task with synthetic samples: larger than the profile's
    assert (trainer.rehearsed, trainer.at_once) == ([1, 2, 4, 8, 16], 16)
