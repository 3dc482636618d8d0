"""The bound on executed plans that `tools.bench_executed` prints."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from server.plan.boards import Boards
from server.plan.build import build_fleet
from server.plan.solve import solve
from tests.plan.builders import device, problem, table
from tools import bench_executed
from tools.bench_executed import least_executed_j


@pytest.mark.parametrize("seed", range(5))
def test_no_whole_samples_cost_less_than_the_bound(seed):
    """Two devices in batches of 4: every pair of sample counts that keeps the target is looked at."""
    rng = np.random.default_rng(seed)
    cpus = [table((1e9, 1.0, 1.0 + rng.random()), (2e9, 0.6, 2.0 + rng.random())) for _ in "ab"]
    pair = problem(*(device(n, cpu=cpu) for n, cpu in zip("ab", cpus, strict=True)), target=1 / 17, round_s=16.5)
    plan = solve(pair, batch_size=4)
    fleet = build_fleet(pair)
    boards = Boards(fleet, plan.devices.upload_s, 4)
    counts = np.array([(a, b) for a in range(10, boards.most[0] + 1) for b in range(10, boards.most[1] + 1)])
    kept = counts[(1 / counts).mean(axis=1) <= 1 / 17]
    joules = sum(boards.joules(np.array([i]), kept[None, :, i])[0] for i in (0, 1))
    best_j = float(joules.min() + plan.devices.upload_j.sum())
    bound_j = least_executed_j(pair, plan, 4)
    assert plan.lower_bound_j <= bound_j <= best_j * (1 + 1e-12)
    assert best_j <= plan.executed_energy_j * (1 + 1e-12)


def test_the_table_has_a_row_a_radio(monkeypatch, capsys):
    arguments = ["bench_executed", "--devices", "3", "--seeds", "2", "--radio", "wired", "mixed"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert bench_executed.main() == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["radio", "executed", "median", "worst", "least", "median", "worst"]
    assert [row.split()[0] for row in rows] == ["wired", "mixed"]
    for row in rows:
        executed, _, least, _ = (float(cell.rstrip("%")) for cell in row.split()[1:])
        assert 0 <= least <= executed < 5
