"""What only the whole run does: work in threads that ends with it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from server import pipeline
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
