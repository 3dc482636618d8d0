"""Ending asyncio tasks for certain: both sides of the wire run many, and a run must not hang on one at its end.

And work in threads, which nothing can end: who is cancelled meanwhile waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_AGAIN_S = 0.5

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Its result, from a thread. Whoever is cancelled meanwhile ends after it, so that what it touches is then still:
    nobody else can find a file half written."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            await asyncio.wait({work}, timeout=_AGAIN_S)
        if not work.cancelled():
            work.exception()  # looked at here, so that asyncio does not warn that nobody did
        raise


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until all have ended, whatever they end with.

    Asked again every half second: before Python 3.12 `asyncio.wait_for` swallows a cancellation that arrives together
    with its result, and a task would then run on for ever.
    """
    while alive := {task for task in tasks if not task.done()}:
        for task in alive:
            task.cancel()
        await asyncio.wait(alive, timeout=_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at here, so that asyncio does not warn that nobody did
