"""How fast each runtime trains VGG-9, beside PyTorch written as its tutorial does: `python -m tools.bench_runtimes`.

Every contender is a process of its own that trains the same batches again and again; they take turns, a second each,
and what is printed are ratios of neighbouring turns: on a shared machine seconds of different minutes say nothing.
`agent` is the client's training worker, told what to do over its pipe, with a meter that is polled beside it and a
heartbeat being written, beside the same trainer in a loop of three lines.

`--also tflite-runtime=PYTHON` adds rows by another interpreter: tflite-runtime wants NumPy 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from edge_client.protocol import graphs
from edge_client.protocol.messages import Heartbeat, NetworkSpec, encode
from edge_client.training import frames
from edge_client.training.trainer import Hyper
from edge_client.training.worker_client import WorkerClient
from tools.bench_runtimes_figure import draw

ROOT = Path(__file__).parents[1]
NETWORK = NetworkSpec(name="vgg9", image_shape=(32, 32, 3), n_classes=10)
SAMPLES = 256
TURN_S = 1.0
HYPER = Hyper(0.001, 0.9, 0.0, None)
RUNTIMES = ("onnx", "tflite", "torch", "torch-bf16")


Step = Callable[[int], None]
"""Trains the batch of that number."""


@dataclass(frozen=True)
class Row:
    """One contender beside the plain loop: images a second of both (medians), and the ratio of neighbouring turns with
    its quartiles."""

    contender: str
    threads: int
    batch: int
    images_per_s: float
    plain_images_per_s: float
    ratio: float
    low: float
    high: float


# ---- a contender's process ---------------------------------------------------------------------------------------


def serve(kind: str, begin: frames.Begin, batch: int) -> None:
    """Read a number of batches, train them, answer with the seconds they took; until the input ends."""
    with np.load(begin.data) as held:
        images, labels = held["x"], held["y"]
    step = plain(begin.threads, images, labels, batch) if kind == "plain" else bare(begin, images, labels, batch)
    for line in sys.stdin:
        started = time.perf_counter()
        for number in range(int(line)):
            step(number)
        print(time.perf_counter() - started, flush=True)


def plain(threads: int, images: np.ndarray, labels: np.ndarray, batch: int) -> Step:
    """PyTorch's tutorial: tensors are ready, the optimiser is SGD with momentum, nothing is tuned."""
    import torch
    from torch import nn

    from models.networks import build, normalise

    torch.set_num_threads(threads)
    model = build(NETWORK.name, NETWORK.image_shape, NETWORK.n_classes).train()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=HYPER.learning_rate, momentum=HYPER.momentum)
    x, y = torch.from_numpy(np.ascontiguousarray(normalise(images))), torch.from_numpy(labels)

    def step(number: int) -> None:
        own = slice(number * batch % SAMPLES, number * batch % SAMPLES + batch)
        optimizer.zero_grad()
        loss_fn(model(x[own]), y[own]).backward()
        optimizer.step()

    return step


def bare(begin: frames.Begin, images: np.ndarray, labels: np.ndarray, batch: int) -> Step:
    """A trainer of the client, and nothing around it."""
    from edge_client.training.making import make_trainer

    trainer = make_trainer(begin)

    def step(number: int) -> None:
        own = slice(number * batch % SAMPLES, number * batch % SAMPLES + batch)
        trainer.train_batch(images[own], labels[own], HYPER)

    return step


# ---- contenders, as the bench sees them --------------------------------------------------------------------------


class Child:
    """A contender in a process of its own."""

    def __init__(self, kind: str, begin: frames.Begin, batch: int, python: str = sys.executable) -> None:
        job = json.dumps({"kind": kind, "begin": msgspec.to_builtins(begin), "batch": batch})
        threads = {name: str(begin.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._process = subprocess.Popen(
            [python, "-m", "tools.bench_runtimes", "--serve", job],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **threads},
        )

    async def train(self, batches: int) -> float:
        """Seconds of so many batches."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{batches}\n")
        self._process.stdin.flush()
        answer = await asyncio.to_thread(self._process.stdout.readline)
        if not answer:
            raise SystemExit(f"a contender has ended with status {self._process.wait()}")
        return float(answer)

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.to_thread(self._process.wait)


class Agent:
    """The client's worker, with what an agent does beside it."""

    def __init__(self, begin: frames.Begin, batch: int) -> None:
        self.worker = WorkerClient(begin.threads)
        self._begin, self._batch = begin, batch
        self._beating: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.worker.start(self._begin)
        await self.worker.set_shard(None)
        await self.worker.load(None)
        self._beating = asyncio.create_task(beat())

    async def train(self, batches: int) -> float:
        order = [np.arange(k * self._batch, (k + 1) * self._batch, dtype=np.int32) % SAMPLES for k in range(batches)]
        started = time.perf_counter()
        await self.worker.train(
            frames.Train(
                batches=tuple(indices.tobytes() for indices in order),
                learning_rate=HYPER.learning_rate,
                momentum=HYPER.momentum,
                weight_decay=HYPER.weight_decay,
                clip_norm=HYPER.clip_norm,
            ),
            lambda _: None,
        )
        return time.perf_counter() - started

    async def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
        await self.worker.stop()


async def beat() -> None:
    """What an agent does meanwhile: ten times a second a meter is read, every five seconds a heartbeat goes out."""
    for number in range(1 << 30):
        Path("/proc/stat").read_text()
        if number % 50 == 0:
            encode(Heartbeat(device="d", state="training", round=1, samples_done=number, power_w=1.0, freq_hz=None))
        await asyncio.sleep(0.1)


# ---- the bench ---------------------------------------------------------------------------------------------------


async def compare(
    first: Child | Agent, second: Child | Agent, batch: int, turns: int
) -> tuple[list[float], list[float]]:
    """Seconds an image of both, turn by turn, after one turn that does not count."""
    pair = (first, second)
    sizes = [max(2, round(2 * TURN_S / await one.train(2))) for one in pair]
    sizes = [max(2, round(size * TURN_S / await one.train(size))) for one, size in zip(pair, sizes, strict=True)]
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for one, size, seconds in zip(pair, sizes, found, strict=True):
            seconds.append(await one.train(size) / (size * batch))
    return found


def row(name: str, threads: int, batch: int, own: Sequence[float], plain_s: Sequence[float]) -> Row:
    ratios = [b / a for a, b in zip(own, plain_s, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Row(name, threads, batch, 1 / statistics.median(own), 1 / statistics.median(plain_s), middle, low, high)


def begin_of(runtime: str, threads: int, batch: int, folder: Path) -> frames.Begin:
    """Graphs are made on the way."""
    name, bfloat16 = runtime.removesuffix("-bf16"), runtime.endswith("-bf16")
    path: Path | None = None
    if name in graphs.RUNTIMES:
        from server.export.bundle import make_bundle
        from server.export.step import Options

        path = folder / f"{name}-{batch}.fimi"
        if not path.exists():
            size = batch if name == "tflite" else None
            path.write_bytes(graphs.pack(make_bundle(NETWORK, name, Options(clip=True), batch=size)))
    return frames.Begin(
        network=NETWORK,
        runtime=name,
        threads=threads,
        data=str(folder / "d.npz"),
        samples=str(folder),
        graphs=None if path is None else str(path),
        bfloat16=bfloat16,
    )


@asynccontextmanager
async def opened(*contenders: Child | Agent) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for one in contenders:
            stack.push_async_callback(one.close)
            if isinstance(one, Agent):
                await one.open()
        yield


async def bench(arguments: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, object]]]:
    rng = np.random.default_rng(0)
    np.savez(
        folder / "d.npz",
        x=rng.integers(0, 256, (SAMPLES, *NETWORK.image_shape), dtype=np.uint8),
        y=np.arange(SAMPLES) % NETWORK.n_classes,
        n_classes=NETWORK.n_classes,
    )
    also = dict(own.split("=", 1) for own in arguments.also)
    rows: list[Row] = []
    print(f"{'contender':16} {'threads':>7} {'batch':>5} {'images/s':>9} {'plain':>7} {'ratio':>6} {'quartiles':>13}")

    def told(own: Row) -> None:
        rows.append(own)
        print(
            f"{own.contender:16} {own.threads:>7} {own.batch:>5} {own.images_per_s:>9.0f} "
            f"{own.plain_images_per_s:>7.0f} {own.ratio:>6.2f} {own.low:>6.2f} {own.high:>6.2f}",
            flush=True,
        )

    for threads in arguments.threads:
        for batch in arguments.batches:
            for runtime in (*arguments.runtimes, *also):
                begin = begin_of("tflite" if runtime in also else runtime, threads, batch, folder)
                one, other = (
                    Child("bare", begin, batch, also.get(runtime, sys.executable)),
                    Child("plain", begin, batch),
                )
                async with opened(one, other):
                    told(row(runtime, threads, batch, *await compare(one, other, batch, arguments.turns)))
    for runtime in arguments.runtimes:
        begin = begin_of(runtime, 1, 32, folder)
        agent, loop = Agent(begin, 32), Child("bare", begin, 32)
        async with opened(agent, loop):
            told(row(f"agent/{runtime}", 1, 32, *await compare(agent, loop, 32, arguments.turns)))
    return {"throughput": [asdict(own) for own in rows]}


def runtimes_here() -> list[str]:
    """All but bfloat16 where that is emulated."""
    from edge_client.training.torch_trainer import has_bfloat16

    return [name for name in RUNTIMES if name != "torch-bf16" or has_bfloat16()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_runtimes", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, help="default: all")
    parser.add_argument("--turns", type=int, default=9, help="of a second each (default: 9)")
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME=PYTHON", help="tflite by another interpreter")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--figure", type=Path, metavar="FILE.png")
    parser.add_argument("--read", type=Path, metavar="FILE.json", help="draw what --out has written; measure nothing")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        job = json.loads(arguments.serve)
        serve(job["kind"], msgspec.convert(job["begin"], frames.Begin), job["batch"])
        return
    arguments.runtimes = arguments.runtimes or runtimes_here()
    if arguments.read:
        found = json.loads(arguments.read.read_text())
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(bench(arguments, Path(folder)))
    if arguments.figure:
        draw([Row(**own) for own in found["throughput"]], arguments.figure)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
