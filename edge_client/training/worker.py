"""The training process: `python -m edge_client.training.worker`, told what to do over its standard input.

One process lives as long as the client, so that a runtime is imported once and heartbeats never wait for a batch. It
uses one thread unless told otherwise, ends when its input ends, and dies with its parent.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edge_client.errors import FimiClientError, TrainingError
from edge_client.protocol import shards, weights
from edge_client.protocol.errors import NotFiniteError, ProtocolError
from edge_client.protocol.processes import die_with_parent
from edge_client.training import data, frames, memory
from edge_client.training.data import LocalData
from edge_client.training.evaluation import AT_ONCE, evaluate
from edge_client.training.making import bind, make_trainer
from edge_client.training.store import SampleStore, storing
from edge_client.training.trainer import REMEDY, Trainer


class Pipe:
    """Frames over two file descriptors; `poll` looks for a frame without waiting."""

    def __init__(self, source: int, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._buffer = bytearray()

    def send(self, frame: frames.FromWorker) -> None:
        self._sink.writelines(frames.parts(frame))
        self._sink.flush()

    def receive(self) -> frames.ToWorker | None:
        """The next command; None when the agent has closed the pipe."""
        while (frame := self._take()) is None:
            if not self._fill():
                return None
        return frame

    def poll(self) -> frames.ToWorker | None:
        """A command that is already there, or None."""
        while (frame := self._take()) is None:
            if not select.select([self._source], [], [], 0)[0] or not self._fill():
                return None
        return frame

    def _fill(self) -> bool:
        part = os.read(self._source, 1 << 16)
        self._buffer += part
        return bool(part)

    def _take(self) -> frames.ToWorker | None:
        head = frames.HEADER.size
        if len(self._buffer) < head:
            return None
        (size,) = frames.HEADER.unpack_from(self._buffer)
        if len(self._buffer) < head + size:
            return None
        body = bytes(self._buffer[head : head + size])
        del self._buffer[: head + size]
        return frames.read_command(body)


class Worker:
    """Does what each frame says with one trainer and the samples it holds."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._trainer: Trainer | None = None
        self._local: LocalData | None = None
        self._folder = Path()
        self._images = np.empty((0, 0, 0, 0), np.uint8)
        self._labels = np.empty(0, np.int64)
        self._memory_bytes: int | None = None
        self._fitted: memory.Fit | None = None
        self._own_size: int | None = None  # of the batches that the trainer's graphs are for
        self._loaded: Mapping[str, np.ndarray] | None = None

    def serve(self) -> None:
        """Answer until the pipe ends."""
        while (frame := self._pipe.receive()) is not None:
            try:
                self._answer(frame)
            except (FimiClientError, ProtocolError) as error:
                self._pipe.send(frames.Problem(reason=str(error)))
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, MemoryError) as error:
                # A runtime's own failure, out of memory among them: the task fails, the worker goes on.
                self._pipe.send(frames.Problem(reason=f"{type(error).__name__}: {error}"))

    def _answer(self, frame: frames.ToWorker) -> None:
        match frame:
            case frames.Begin():
                bind(frame.cpus)
                self._local = data.load(Path(frame.data))
                self._folder = Path(frame.samples)
                self._hold(None)
                self._trainer, self._loaded = None, None  # of two networks one is held at a time
                self._trainer = make_trainer(frame)
                self._memory_bytes, self._fitted, self._own_size = frame.memory_bytes, None, self._trainer.at_once
                self._ok()
            case frames.SetShard():
                self._hold(frame.listing)
                self._ok()
            case frames.Load():
                self._loaded = None if frame.model is None else weights.open_file(Path(frame.model))
                if self._loaded is None:
                    self._ready().reset()
                else:
                    self._ready().load(self._loaded)
                    memory.give_back()
                self._ok()
            case frames.Train():
                self._pipe.send(self._train(frame))
            case frames.Evaluate():
                self._pipe.send(self._evaluate())
            case frames.GetChange():
                self._ready().rest()
                self._write_change(Path(frame.path))
                memory.give_back()
                self._ok()
            case frames.Halt():
                pass  # the training it meant has ended by itself

    def _ok(self) -> None:
        self._pipe.send(frames.Ok(samples=len(self._labels)))

    def _ready(self) -> Trainer:
        if self._trainer is None:
            raise TrainingError("the worker was given no network yet")
        return self._trainer

    def _write_change(self, path: Path) -> None:
        if self._loaded is None:
            raise TrainingError("no weights were loaded that a change could be told from")
        try:
            packed = weights.pack(weights.change(self._ready().weights(), self._loaded), "float16")
        except NotFiniteError as error:
            raise TrainingError(f"the change is too large: {error}: {REMEDY}") from error
        with storing(path):
            path.write_bytes(packed)

    def _hold(self, packed: bytes | None) -> None:
        """Local samples first, synthetic ones after them."""
        if self._local is None:
            raise TrainingError("the worker was given no samples yet")
        images, labels = self._local.images, self._local.labels
        if packed is not None:
            listing = shards.unpack_list(packed)
            if listing.shape != images.shape[1:]:
                raise TrainingError(f"the shard's images are {listing.shape}, ours {images.shape[1:]}")
            more_images, more_labels = SampleStore(self._folder, listing.shape, len(listing.names)).read(listing)
            if more_labels.size and more_labels.max() >= self._local.n_classes:
                raise TrainingError(f"the shard has label {more_labels.max()} of {self._local.n_classes} classes")
            images, labels = np.concatenate([images, more_images]), np.concatenate([labels, more_labels])
        self._images, self._labels = images, labels

    def _train(self, frame: frames.Train) -> frames.Done:
        trainer, hyper = self._ready(), frame.hyper
        batches = [np.frombuffer(batch, np.int32) for batch in frame.batches]
        self._fit(max((len(batch) for batch in batches), default=0))
        started = time.monotonic()
        done, halted = 0, False
        while batches and not halted:
            if frame.for_s is None:
                if done == len(batches):
                    break
            elif done >= frame.min_batches and time.monotonic() - started >= frame.for_s:
                break
            indices = batches[done % len(batches)]
            loss = trainer.train_batch(self._images[indices], self._labels[indices], hyper)
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is not finite: {REMEDY}")
            self._pipe.send(frames.Progress(samples=len(indices), loss=loss, t=time.monotonic()))
            done += 1
            halted = isinstance(self._pipe.poll(), frames.Halt)
        return frames.Done(started=started, t=time.monotonic(), halted=halted)

    def _fit(self, batch: int) -> None:
        """See how many images of a batch of this size may be done at a time; one that is no larger than before is."""
        limit_bytes, known = self._memory_bytes, self._fitted
        if limit_bytes is None or batch < 1 or (known is not None and batch <= known.images):
            return
        trainer = self._ready()
        held = sum(array.nbytes for array in trainer.weights().values())
        some = np.resize(np.arange(len(self._labels)), batch)

        def rehearse(n: int) -> None:
            trainer.rehearse(self._images[some[:n]], self._labels[some[:n]])

        # after a rehearsal the step itself comes, and with it, in PyTorch, the momenta
        self._fitted = memory.fitting(
            min(batch, self._own_size or batch), limit_bytes, rehearse, spare=held, known=known
        )
        trainer.at_once = self._own_size if self._fitted.images >= batch else self._fitted.images

    def _evaluate(self) -> frames.Evaluated:
        """On the device's own samples alone."""
        if self._local is None:
            raise TrainingError("the worker was given no samples yet")
        self._fit(min(AT_ONCE, len(self._local.labels)))
        seen = evaluate(self._ready(), self._local.images, self._local.labels)
        return frames.Evaluated(samples=seen.samples, accuracy=seen.accuracy, loss=seen.loss)


def offer_to_oom_killer() -> None:
    """Where memory runs out the kernel is to end this process: its task has failed then, and the agent says so."""
    with contextlib.suppress(OSError):  # no procfs, or not ours to write: the kernel chooses by size, and this is it
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Serve the agent until it goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the agent decides
    die_with_parent(
        number=signal.SIGKILL
    )  # even while it is stopped; where there is no such thing, the pipe's end must do
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the frames
    offer_to_oom_killer()
    try:
        Worker(Pipe(0, sink)).serve()
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
