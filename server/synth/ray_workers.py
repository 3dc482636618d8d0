"""Blocks made by Ray actors, on as many GPUs or machines as a cluster has; this process alone writes them down.

Which samples a block holds and the batch they are made in is a matter of the block alone, so it does not matter who
makes it: on one machine the bytes are those of a single process. A worker needs `fimi` installed and no disk of ours: a
checkpoint travels to it, with all its parts; a pipeline's folder must be found there at the same path.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from server.errors import ConfigError, DataError, FimiServerError
from server.synth.filling import Made, Maker, checked, make_block
from server.synth.generator import Generator, Stop, Stopped
from server.synth.store import Block, Kind

Load = Callable[[Path | str], Generator]
"""Opens a checkpoint or a pipeline, once in each worker; something that can be pickled."""

HERE = "local"
_KNOCK_S = 10.0
_LOOK_S = 0.5  # between two looks at whether we are asked to stop
_PATIENCE_S = 60.0  # with the first worker, before a word is said


class Worker:
    """What an actor does: open the generator when it is told to, not before, then make blocks."""

    def __init__(self, load: Load, source: Path | str, files: Mapping[str, bytes]) -> None:
        """`files`: those that came with it, by name; without any, `source` is what is found on this machine."""
        self._load, self._source, self._files = load, source, files
        self._generator: Generator | None = None

    def open(self) -> None:
        if not self._files:
            self._generator = self._load(self._source)
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, data in self._files.items():
                (Path(folder) / name).write_bytes(data)
            self._generator = self._load(Path(folder) / Path(self._source).name)

    def make(self, kind: Kind, block: Block) -> np.ndarray:
        assert self._generator is not None, "make before open"
        return make_block(checked(self._generator, kind), kind, block)


@contextmanager
def cluster(address: str, workers: int | None) -> Iterator[Any]:
    """Ray itself, connected; what was started here ends with the context.

    `address` is "local" (workers on this machine alone, gone afterwards), "auto" or a cluster's HOST:PORT; `workers`
    None: one a GPU, without any GPU one a CPU. Raises ConfigError where no cluster answers there.
    """
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address == HERE:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"--ray {address}: no cluster answers ({error}); start one with: ray start --head, or use --ray {HERE} for "
            "this machine alone"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError or ValueError where nobody listens: Ray itself would ask for a minute, and then end the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("an address is auto, local or HOST:PORT")
    socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def ray_maker(
    ray: Any,
    load: Load,
    source: Path | str,
    files: Sequence[Path],
    *,
    workers: int | None,
    say: Callable[[str], None],
) -> Maker:
    """Makes blocks with actors of a Ray that is connected; each calls `load` once, with `source` or, where `files`
    travel to it, with the place there of the one of that name."""
    has = ray.cluster_resources()
    gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 1))
    wanted = workers or gpus or cpus
    say(f"Ray: {wanted} workers, {gpus} GPUs and {cpus} CPUs in the cluster")
    actor = ray.remote(Worker).options(**({"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1}))
    place = source.resolve() if isinstance(source, Path) else source
    sent = ray.put({file.name: file.read_bytes() for file in files})

    def make(kind: Kind, blocks: Iterable[Block], stop: Stop) -> Made:
        crew: list[Any] = []
        try:
            crew += [actor.remote(load, place, sent) for _ in range(wanted)]
            yield from _shared_out(ray, crew, kind, blocks, stop, say)
        finally:
            for one in crew:
                ray.kill(one)

    return make


def _shared_out(
    ray: Any, crew: list[Any], kind: Kind, blocks: Iterable[Block], stop: Stop, say: Callable[[str], None]
) -> Made:
    """Each worker has one block in hand. What a lost one had goes to another; DataError where nobody is left."""
    todo, again = iter(blocks), list[Block]()
    busy: dict[Any, tuple[Any, Block | None]] = {worker.open.remote(): (worker, None) for worker in crew}
    idle: list[Any] = []
    left, patience = len(crew), time.monotonic() + _PATIENCE_S
    while True:
        while idle and (block := again.pop() if again else next(todo, None)) is not None:
            worker = idle.pop()
            busy[worker.make.remote(kind, block)] = (worker, block)
        if idle and not any(block for _, block in busy.values()):
            return  # a worker may still be waiting for a place in the cluster: there is nothing left for it
        if stop():
            raise Stopped
        if time.monotonic() > patience and len(busy) == left and not any(block for _, block in busy.values()):
            patience = float("inf")
            say("Ray has no worker ready yet: are there free CPUs or GPUs in the cluster?")
        done, _ = ray.wait(list(busy), num_returns=1, timeout=_LOOK_S)
        for ref in done:
            worker, block = busy.pop(ref)
            try:
                images = ray.get(ref)
            except ray.exceptions.RayActorError as error:
                left -= 1
                say(f"a Ray worker was lost, {left} left: {str(error).splitlines()[0]}")
                again += [] if block is None else [block]
                if not left:
                    raise DataError(
                        "all Ray workers were lost; what they made is kept, the same command goes on"
                    ) from error
                continue
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, FimiServerError | ModuleNotFoundError):
                    raise error.cause from None
                raise
            idle.append(worker)
            if block is not None:
                yield block, np.array(images)
