"""Opening a run directory, and work in threads that ends with the run."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server import pipeline
from server.progress import Progress
from server.synth.generator import Stop, Stopped


async def test_ctrl_c_ends_a_running_synthesis(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, began, ended = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def endless(*_: object, stop: Stop) -> None:
        loop.call_soon_threadsafe(began.set)
        while not stop():
            pass
        ended.set()
        raise Stopped

    monkeypatch.setattr(pipeline, "make_shards", endless)
    nothing: Any = None
    drawing = asyncio.create_task(pipeline.draw_shards(nothing, "fimi", nothing, nothing))
    await began.wait()
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert await asyncio.to_thread(ended.wait, 20)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_goes_on_as_it_began_whenever_it_was_killed(tmp_path: Path, fresh: bool) -> None:
    """Before anything but the directory was there, too: relative paths still start at the run file's folder."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "RUN.toml").write_text('[fleet]\ndevices = 1\n[data]\nsource = "photos"\n')
    begun = pipeline.new_run(tmp_path / "mine" / "RUN.toml", tmp_path / "runs", Progress(), fresh=fresh)
    assert (begun.base, begun.config.synth.fresh) == (tmp_path / "mine", fresh)
    again = pipeline.open_run(begun.folder.path, Progress())
    assert (again.base, again.config) == (begun.base, begun.config)


def test_an_interruption_before_the_first_step_is_silent() -> None:
    """Ctrl-C between the making of the steps and their first one: pytest takes "never awaited" for an error."""

    async def steps() -> None:
        raise AssertionError("they never began")

    class Interrupting(Progress):
        @contextmanager
        def showing(self) -> Iterator[None]:
            raise KeyboardInterrupt
            yield

    with pytest.raises(KeyboardInterrupt):
        pipeline.run_to_end(steps(), Interrupting())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_loop_is_made_waits_for_it(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    made, of_old = [], asyncio.new_event_loop

    def new_loop() -> asyncio.AbstractEventLoop:
        signal.raise_signal(number)
        made.append(of_old())
        return made[0]

    async def steps() -> None:
        raise AssertionError("they never began")

    monkeypatch.setattr("asyncio.runners.events.new_event_loop", new_loop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run_to_end(steps(), Progress())
    assert [loop.is_closed() for loop in made] == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
