"""Running many small trainings side by side, each saved as it is done: an interrupted measurement goes on."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from edge_client.protocol.messages import NetworkSpec
from server.learning.curve import Point
from server.learning.training import Recipe, train_network
from server.rounds.evaluate import evaluate


@dataclass(frozen=True)
class Job:
    """One training, its samples drawn already; `point` says of which amounts they are, its error is not yet known."""

    point: Point
    network: NetworkSpec
    recipe: Recipe
    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class MeasureProgress:
    """`point` is the run just done; `left_s` the time that the rest will take, as far as one can tell."""

    point: Point
    done: int
    wanted: int
    left_s: float


def run_job(job: Job) -> Point:
    """Train and test; on one thread, so that jobs side by side do not fight for cores."""
    torch.set_num_threads(1)
    weights = train_network(job.network, job.images, job.labels, job.recipe, seed=job.point.seed)
    result = evaluate(job.network, weights, job.test_images, job.test_labels)
    return Point(job.point.real, job.point.synthetic, job.point.seed, 1.0 - result.accuracy)


def measure(
    wanted: list[Point],
    prepare: Callable[[Point], Job],
    saved: Path,
    key: str,
    *,
    workers: int,
    report: Callable[[MeasureProgress], None],
) -> list[Point]:
    """The points of `wanted` with their errors. `saved` (JSON lines) holds those that were done before under `key`."""
    done = {(p.real, p.synthetic, p.seed): p for p in read_points(saved, key)}
    todo = [p for p in wanted if (p.real, p.synthetic, p.seed) not in done]
    started = time.monotonic()
    fresh = 0

    def keep(point: Point) -> None:
        nonlocal fresh
        fresh += 1
        done[point.real, point.synthetic, point.seed] = point
        saved.parent.mkdir(parents=True, exist_ok=True)
        with saved.open("a") as file:  # the line break stands first: what an earlier end cut short spoils no other
            file.write("\n" + json.dumps({"key": key, **asdict(point)}))
        left_s = (time.monotonic() - started) / fresh * (len(todo) - fresh)
        report(MeasureProgress(point, len(wanted) - len(todo) + fresh, len(wanted), left_s))

    if workers <= 1:
        threads = torch.get_num_threads()
        try:
            for point in todo:
                keep(run_job(prepare(point)))
        finally:
            torch.set_num_threads(threads)
    elif todo:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_die_quietly) as pool:
            try:
                for future in as_completed([pool.submit(run_job, prepare(point)) for point in todo]):
                    keep(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.terminate()
                raise
    return [done[p.real, p.synthetic, p.seed] for p in wanted]


def read_points(saved: Path, key: str) -> list[Point]:
    """What was measured under this key; a last line that was cut off is left out."""
    points = []
    for line in saved.read_text().splitlines() if saved.exists() else []:
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if fields.pop("key", None) == key:
            points.append(Point(**fields))
    return points


def _die_quietly() -> None:
    """Ctrl-C reaches the whole process group; only the parent has something to say about it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
