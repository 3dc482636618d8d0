"""The line to the broker where it does not hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import aiomqtt
import pytest

from edge_client.agent import link
from edge_client.agent.link import Line, Link
from edge_client.config import parse_broker
from edge_client.protocol.topics import Topics


async def waits(monkeypatch: pytest.MonkeyPatch, tries: Sequence[float | None]) -> list[float]:
    """How long a client waits after each connection: one that holds so many seconds, or (None) is not made."""
    slept: list[float] = []
    left, now = list(tries), 0.0

    async def serve(self: Link, client: object) -> None:
        nonlocal now
        now += left.pop(0) or 0.0
        raise aiomqtt.MqttError("Disconnected during message iteration")

    @contextlib.asynccontextmanager
    async def connect():  # type: ignore[no-untyped-def]
        if left[0] is None:
            left.pop(0)
            raise aiomqtt.MqttError("no broker")
        yield None

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        if not left:
            raise asyncio.CancelledError

    monkeypatch.setattr(Link, "_connect", lambda self: connect())
    monkeypatch.setattr(Link, "_serve", serve)
    monkeypatch.setattr(link.asyncio, "sleep", sleep)
    monkeypatch.setattr(link.random, "uniform", lambda low, high: 1.0)
    monkeypatch.setattr(link.time, "monotonic", lambda: now)
    line = Line(parse_broker("mqtt://h"), Topics("f"), "d", 64 * 1024)
    with contextlib.suppress(asyncio.CancelledError):
        await Link(line, lambda *_: None, lambda _: None).run()
    return slept


async def test_a_connection_that_held_is_sought_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await waits(monkeypatch, [3600, None, None, None, 3600, 3600]) == [0.5, 1, 2, 4, 0.5, 0.5]


async def test_a_broker_that_was_long_away_is_not_left_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await waits(monkeypatch, [3600, *[None] * 7, 5]) == [0.5, 1, 2, 4, 8, 16, 30, 30, 1]


async def test_two_clients_of_one_name_do_not_throw_each_other_out_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker ends the older connection, and each would be back in half a second: for months, with a line of log."""
    assert await waits(monkeypatch, [1] * 8) == [1, 2, 4, 8, 16, 30, 30, 30]
    assert "has another client the same --id?" in caplog.text
