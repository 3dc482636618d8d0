"""Samples made while devices train: what later strategies and revised plans will want, in a process of its own.

It gets the processor only when nobody else wants it, so neither an upload nor a round waits for it; it ends with the
run, and whatever ends it, whole blocks stay in the store. Samples are the same as made in the foreground: it plans from
the same files and fills the same store. Where it fails, the run makes what it needs when it needs it, as ever.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np

from edge_client.protocol.processes import die_with_parent
from server.config import Strategy
from server.errors import FimiServerError
from server.sources import generator_source
from server.steps import Run
from server.synth.generator import Stopped

LOG = "ahead.log"
SPARE_BLOCKS = 1
"""Blocks of each class that are made beside a plan's own where it may be revised: a revision moves samples between
devices, so that one of them may want somewhat more of a class than any did before."""
FINISH_S = 30.0
"""So long a run waits for the block in hand, which it would have to make itself; then it does."""
ROOT = Path(__file__).resolve().parents[1]
STOPPED = 75  # exit code: asked to end with something left to make


class Ahead:
    """At most one child process at a time, between two synthetic draws of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def aside(self, wanted: Sequence[Strategy], *, finish: bool = True) -> AsyncIterator[None]:
        """Out of the way inside the context, then at work for the strategies `wanted`.

        `finish`: it may finish the block in hand, because who waits needs that one next.
        """
        await self.end(finish=finish)
        yield
        await self._begin([strategy for strategy in wanted if strategy in ("fill", "fimi")])

    async def end(self, *, finish: bool = False) -> None:
        """No process after this; says so where one failed by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if finish and process.returncode is None and process.stdin is not None:
                process.stdin.close()
                async with asyncio.timeout(FINISH_S):
                    await process.wait()
        except TimeoutError:
            self._run.progress.say("sampling ahead takes too long over its block: made here instead")
        finally:
            killed = process.returncode is None
            if killed:
                process.kill()
                await process.wait()
        if not killed and process.returncode not in (0, STOPPED):
            said = (self._run.folder.path / LOG).read_text(errors="replace").strip().splitlines()
            why = said[-1] if said else f"exit code {process.returncode}"
            self._run.progress.say(f"sampling ahead ended, samples are made when they are needed: {why}")

    async def _begin(self, strategies: Sequence[Strategy]) -> None:
        config = self._run.config
        if not strategies or not config.synth.background:
            return
        if generator_source(config, self._run.base) is None:
            return
        folder = self._run.folder
        with (folder.path / LOG).open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "server.ahead",
                str(folder.path.resolve()),
                *strategies,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is for the server, which ends it
                preexec_fn=partial(die_with_parent, os.getpid()),
            )


@asynccontextmanager
async def sampling_ahead(run: Run) -> AsyncIterator[Ahead]:
    """Nothing of it is left after the context."""
    ahead = Ahead(run)
    try:
        yield ahead
    finally:
        await ahead.end()


# ---- the child process -------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """RUN_DIR STRATEGY...: make what they will want, the nearest first; ends within a block once stdin is closed."""
    be_idle()
    ended = threading.Event()
    threading.Thread(target=_await_closing, args=(ended,), daemon=True).start()
    from server import pipeline
    from server.progress import Progress

    run = pipeline.open_run(Path(argv[0]), Progress())
    try:
        for strategy in run.config.strategies:
            if strategy in argv[1:]:
                make_for(run, strategy, ended, nearest=strategy == argv[1])
    except Stopped:
        return STOPPED
    except FimiServerError as error:
        print(error, flush=True)
        return error.exit_code
    return 0


def make_for(run: Run, strategy: Strategy, ended: threading.Event, *, nearest: bool) -> None:
    """Make what a strategy will want, by its plan on disk or by the one that it is going to have.

    Of the `nearest` one the block in hand is finished, others end within it. Raises Stopped.
    """
    import torch

    from server.replanning import replans
    from server.run_plans import participants, solve_plan
    from server.sampling import open_supply, sample_ahead
    from server.synth.filling import SynthProgress
    from server.synth.generator import never

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
    enrolled = participants(run, run.folder.devices())
    on_disk = run.folder.has(f"plan-{strategy}.json")
    plan = run.folder.current_plan(strategy) if on_disk else solve_plan(run, strategy, enrolled)
    counts = np.array([device.synth_counts for device in plan.plan.devices], dtype=np.int64)
    if not counts.any():
        return

    def tell(now: SynthProgress) -> None:
        run.progress.say(f"{strategy}: {now.line}")
        if ended.is_set():
            raise Stopped

    if ended.is_set():
        raise Stopped
    supply = open_supply(run.config, run.base, run.folder)
    sample_ahead(supply, counts, 0, stop=never if nearest else ended.is_set, report=tell)
    if replans(run, plan):
        sample_ahead(supply, counts, SPARE_BLOCKS, stop=ended.is_set, report=tell)


def _await_closing(ended: threading.Event) -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that holds its lock cannot be left behind at the end
        pass
    ended.set()


def be_idle() -> None:
    """Run only when nobody else wants the processor; where the system has no such class, at the lowest priority."""
    os.nice(19)
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError) as error:
        print(f"no idle class here ({error}): at priority 19", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
