"""Work in a thread: whoever is cancelled meanwhile ends after it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from edge_client.protocol.tasks import end, in_thread


async def test_its_result_and_its_error_come_back() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


async def test_who_is_cancelled_ends_after_it() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        go_on.wait(10)
        done.append(True)
        raise ValueError  # nobody is there any more to hear of it

    waiting = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    ending = asyncio.create_task(end(waiting))
    await asyncio.sleep(0)  # the cancellation has arrived
    assert not waiting.done()
    go_on.set()
    await ending
    assert (waiting.cancelled(), done) == (True, [True])
