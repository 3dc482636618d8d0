"""Solving inside a server: while an event loop runs, beside other threads, and on one processor."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading

import pytest

from server.plan import blocks, threads
from server.plan.build import build_fleet
from server.plan.device_step import joules
from server.plan.exact import solve_exact
from tests.plan.builders import random_problem


@pytest.mark.parametrize("processors", [1, 4])
def test_solves_beside_each_other_agree_and_leave_nothing_behind(monkeypatch, processors):
    fleet = build_fleet(random_problem(6, 60, "mixed", "mixed", 0.5))
    energy_j = float(joules(fleet, solve_exact(fleet).points).sum())
    monkeypatch.setattr(blocks, "SIZE", 7)
    monkeypatch.setattr(threads, "_ALONE", 0)
    monkeypatch.setattr(threads, "_processors", lambda: processors)

    async def three() -> list[float]:
        solved = await asyncio.gather(*(asyncio.to_thread(solve_exact, fleet) for _ in range(3)))
        return [float(joules(fleet, one.points).sum()) for one in solved]

    before = threading.active_count()
    assert asyncio.run(three()) == pytest.approx([energy_j] * 3, rel=1e-9)
    assert threading.active_count() == before
    assert multiprocessing.active_children() == []
