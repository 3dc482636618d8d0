"""The agent's handle on the training process: start, tell, listen, kill.

The process may be stopped and continued from outside many times a second (a virtual board's governor does it to model
a slow clock). One that is seen stopped, and without any CPU time in between, for `STOPPED_S` while it should work has
lost whoever would continue it, and is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from edge_client.errors import TrainingError
from edge_client.training import frames

STOPPED_S = 10.0
"""A busy host may keep a governor from its turn for seconds; a task is not given up for that."""

_LOOK_S = 0.25
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Look:
    """Among the answers: time to look at the process."""


_LOOK = _Look()


class StoppedWatch:
    """Tells a process that nobody continues from one that is merely held back."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._cpu_s = -1.0

    def observe(self, now: float, stopped: bool, cpu_s: float) -> bool:
        """True once the process was stopped without using the processor for `STOPPED_S`."""
        if not stopped or cpu_s != self._cpu_s or self._since is None:
            self._since = now if stopped else None
            self._cpu_s = cpu_s
            return False
        return now - self._since > STOPPED_S


class WorkerClient:
    """One worker process at a time. Calls are made one after another, never two at once."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._begin: frames.Begin | None = None
        self._begun: frames.Begin | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._answers: asyncio.Queue[frames.FromWorker | _Look | None] = asyncio.Queue()
        self._owed = False  # a command was sent and its last answer is still to come

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self, begin: frames.Begin) -> None:
        """See that a worker runs that has begun with this; raises TrainingError.

        One process never holds two runtimes, and one with a bound on its memory nothing of what was before: it is
        started anew, for a process's peak never falls.
        """
        before = self._begin
        if before is not None and before != begin and (before.runtime != begin.runtime or begin.memory_bytes):
            await self.stop()
        self._begin = begin
        if self.pid is None:
            await self._spawn()
        if self._begun != begin:
            self._begun = None  # cancelled half way, it would pass for what was begun before
            await self._ask(begin)
            self._begun = begin

    async def load(self, model: Path | None) -> None:
        """Start from the weights in this file (safetensors); None: from the network's own."""
        await self._ask(frames.Load(model=None if model is None else str(model)))

    async def set_shard(self, listing: bytes | None) -> int:
        """Hold the samples of this list beside the local ones (None: none); returns how many are held in all."""
        answer = await self._ask(frames.SetShard(listing=listing))
        assert isinstance(answer, frames.Ok)
        return answer.samples

    async def evaluate(self) -> frames.Evaluated:
        """How good the present weights are on the device's own samples."""
        answer = await self._ask(frames.Evaluate())
        assert isinstance(answer, frames.Evaluated)
        return answer

    async def write_change(self, path: Path) -> None:
        """Write how far the weights are from those that were loaded to a file, as float16 safetensors."""
        await self._ask(frames.GetChange(path=str(path)))

    async def train(self, command: frames.Train, on_progress: Callable[[frames.Progress], None]) -> frames.Done:
        """Run a training; when this call is cancelled the worker halts after its present batch."""
        try:
            answer = await self._ask(command, on_progress)
        except asyncio.CancelledError:
            if self._process is not None and self._owed:
                self._send(frames.Halt())
            raise
        assert isinstance(answer, frames.Done)
        return answer

    async def stop(self) -> None:
        """Kill the process: it holds nothing that must be put in order, and it may be stopped."""
        process, self._process, self._begun, self._owed = self._process, None, None, False
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._pump is not None:
            await self._pump
            self._pump = None

    # ---- the pipe ----

    async def _spawn(self) -> None:
        await self.stop()
        self._answers = asyncio.Queue()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edge_client.training.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **{name: str(self._threads) for name in _THREADS}},
        )
        self._pump = asyncio.create_task(self._read_answers(self._process, self._answers))

    async def _ask(
        self, command: frames.ToWorker, on_progress: Callable[[frames.Progress], None] | None = None
    ) -> frames.FromWorker:
        """Send a command and wait for its last answer; raises TrainingError for a Problem, or when the worker dies."""
        while self._owed:  # a cancelled call left its answers behind
            await self._next()
        self._send(command)
        self._owed = True
        while isinstance(answer := await self._next(), frames.Progress):
            if on_progress is not None:
                on_progress(answer)
        if isinstance(answer, frames.Problem):
            raise TrainingError(answer.reason)
        return answer

    def _send(self, frame: frames.ToWorker) -> None:
        """Write without waiting: a stopped worker does not read, and `_next` is what notices."""
        if self._process is None or self._process.stdin is None:
            raise TrainingError("the training worker does not run")
        self._process.stdin.writelines(frames.parts(frame))

    async def _next(self) -> frames.FromWorker:
        watch = StoppedWatch()
        loop = asyncio.get_running_loop()
        while True:
            # not asyncio.wait_for: before Python 3.12 it can swallow a cancellation
            timer = loop.call_later(_LOOK_S, self._answers.put_nowait, _LOOK)
            try:
                answer = await self._answers.get()
            finally:
                timer.cancel()
            if isinstance(answer, _Look):
                if self.pid is not None and watch.observe(time.monotonic(), *read_stat(self.pid)):
                    await self.stop()
                    raise TrainingError(f"the training worker was stopped and not continued for {STOPPED_S:g} s")
                continue
            if answer is None:
                code = await self._process.wait() if self._process is not None else None
                await self.stop()
                raise TrainingError(_ended(code))
            if not isinstance(answer, frames.Progress):
                self._owed = False
            return answer

    @staticmethod
    async def _read_answers(
        process: asyncio.subprocess.Process, answers: asyncio.Queue[frames.FromWorker | _Look | None]
    ) -> None:
        """Frames from the pipe into the queue, and None at its end."""
        assert process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                (size,) = frames.HEADER.unpack(await process.stdout.readexactly(frames.HEADER.size))
                answers.put_nowait(frames.read_answer(await process.stdout.readexactly(size)))
        answers.put_nowait(None)


def _ended(code: int | None) -> str:
    if code == -signal.SIGKILL:  # its own memory is what the kernel frees first, see worker.py
        return "the training worker was killed: memory ran out, or somebody did; memory_limit in client.toml bounds it"
    return f"the training worker ended (exit status {code})"


def read_stat(pid: int) -> tuple[bool, float]:
    """Whether a process is stopped, and the seconds of processor time it has used; (False, 0.0) where it is gone."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            used = process.cpu_times()
            return process.status() == psutil.STATUS_STOPPED, used.user + used.system
    except psutil.NoSuchProcess:
        return False, 0.0
