"""Waiting until enough has come in, or what one waits on has broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Waiting:
    """Conditions on what comes in: whoever takes something in calls `changed`, whoever waits calls `until`."""

    def __init__(self) -> None:
        self._failure: Exception | None = None
        self._event = asyncio.Event()

    def changed(self) -> None:
        """Something has come in: conditions are looked at again."""
        self._event.set()

    def fail(self, error: Exception) -> None:
        """Nothing will come in any more: whoever waits, now or later, gets this error."""
        self._failure = error
        self._event.set()

    async def until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `reached()`; False after `timeout_s`. Raises what `fail` was told."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._failure is not None:
                        raise self._failure
                    if reached():
                        return True
                    self._event.clear()
                    await self._event.wait()
        except TimeoutError:
            return False
