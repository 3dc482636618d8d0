"""Whoever waits is told of what came in, of what broke, and of the time that is over."""

from __future__ import annotations

import asyncio

import pytest

from server.errors import BrokerError
from server.rounds.waiting import Waiting


async def test_a_condition_is_looked_at_when_something_has_come_in() -> None:
    waiting, came = Waiting(), list[int]()
    waits = asyncio.create_task(waiting.until(lambda: len(came) == 2, 60.0))
    for value in (1, 2):
        await asyncio.sleep(0)
        assert not waits.done()
        came.append(value)
        waiting.changed()
    assert await waits


async def test_what_holds_already_is_not_waited_for_and_time_runs_out() -> None:
    waiting = Waiting()
    assert await waiting.until(lambda: True, 60.0)
    assert not await waiting.until(lambda: False, 0.0)


async def test_what_broke_is_told_to_who_waits_and_to_who_comes_later() -> None:
    waiting = Waiting()
    waits = asyncio.create_task(waiting.until(lambda: False, 60.0))
    await asyncio.sleep(0)
    waiting.fail(BrokerError("gone"))
    for one in (waits, waiting.until(lambda: True, 60.0)):
        with pytest.raises(BrokerError, match="gone"):
            await one
