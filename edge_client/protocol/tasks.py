"""Ending asyncio tasks for certain: both sides of the wire run many, and a run must not hang on one at its end."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 0.5


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
