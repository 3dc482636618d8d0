"""Running many small trainings side by side, each saved as it is done: an interrupted measurement goes on."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch

from edge_client.protocol.messages import NetworkSpec
from server.learning.curve import Point
from server.learning.training import Recipe, train_network
from server.rounds.evaluate import evaluate


class Measured(Protocol):
    """What one training gives: a dataclass of JSON values; `cell` names the training among all that are wanted."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def cell(self) -> tuple: ...


P = TypeVar("P", bound=Measured)
J = TypeVar("J")


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
class MeasureProgress(Generic[P]):
    """`point` is the run just done; `left_s` the time that the rest will take, as far as one can tell."""

    point: P
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
    wanted: Sequence[P],
    prepare: Callable[[P], J],
    run: Callable[[J], P],
    saved: Path,
    key: str,
    *,
    workers: int,
    report: Callable[[MeasureProgress[P]], None],
) -> list[P]:
    """The points of `wanted` as measured. `saved` (JSON lines) holds those that were done before under `key`.

    `prepare` draws the samples of a point, here; `run`, a function of a module, trains, in one of `workers` processes.
    """
    done = {p.cell: p for p in (read_points(saved, key, type(wanted[0])) if wanted else [])}
    todo = [p for p in wanted if p.cell not in done]
    started = time.monotonic()
    fresh = 0

    def keep(point: P) -> None:
        nonlocal fresh
        fresh += 1
        done[point.cell] = point
        saved.parent.mkdir(parents=True, exist_ok=True)
        with saved.open("a") as file:  # the line break stands first: what an earlier end cut short spoils no other
            file.write("\n" + json.dumps({"key": key, **asdict(point)}))
        left_s = (time.monotonic() - started) / fresh * (len(todo) - fresh)
        report(MeasureProgress(point, len(wanted) - len(todo) + fresh, len(wanted), left_s))

    if workers <= 1:
        threads = torch.get_num_threads()
        try:
            for point in todo:
                keep(run(prepare(point)))
        finally:
            torch.set_num_threads(threads)
    elif todo:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_die_quietly) as pool:
            try:
                for future in as_completed([pool.submit(run, prepare(point)) for point in todo]):
                    keep(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.terminate()
                raise
    return [done[p.cell] for p in wanted]


def read_points(saved: Path, key: str, kind: type[P]) -> list[P]:
    """What was measured under this key; a last line that was cut off is left out."""
    points = []
    for line in saved.read_text().splitlines() if saved.exists() else []:
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if fields.pop("key", None) == key:
            points.append(kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}))
    return points


def _die_quietly() -> None:
    """Ctrl-C reaches the whole process group; only the parent has something to say about it.

    A parent that is killed says nothing at all: its workers watch it, or they would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
