"""The Compute Module 4 as measured: a fixed job in whole-board watts and seconds, idling at 1.944 W."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.plan.check import violations
from server.plan.problem import OppTable
from server.plan.solve import solve
from tests.plan.builders import device, problem, wired

MHZ = (1200, 1500, 1800, 1950, 2000, 2100)
WATTS = np.array([2.521, 2.740, 3.029, 3.178, 3.271, 3.477])
SECONDS = np.array([209.0, 183.0, 161.0, 153.0, 150.0, 145.0])  # of the job, here a hundred samples
BOARD = OppTable(np.array(MHZ) * 1e6, SECONDS / 100, WATTS * SECONDS / 100, 1.944)
ASKED = problem(device(local=(100, 0), cpu=BOARD, radio=wired(overhead_w=0.0)), round_s=1000.0)


@pytest.mark.parametrize(
    ("basis", "mhz", "joules"),
    [("board", 1950, 3.178 * 153), ("added", 1200, (2.521 - 1.944) * 209)],  # 486.2 J and 120.6 J
)
def test_the_basis_chooses_the_clock(basis, mhz, joules):
    asked = replace(ASKED, energy_basis=basis)
    plan = solve(asked)
    share = plan.devices[0]
    assert [segment.freq_hz for segment in share.segments] == [mhz * 1e6]
    assert (share.compute_j, share.executed_compute_j) == pytest.approx((joules, joules), rel=1e-12)
    assert violations(asked, plan) == []


@pytest.mark.parametrize("basis", ["board", "added"])
@pytest.mark.parametrize("round_s", [150.0, 158.0, 175.0, 201.0])
@pytest.mark.parametrize("epochs", [1, 3])
def test_an_executed_plan_replayed_on_the_table_costs_what_was_predicted(basis, round_s, epochs):
    """The upload takes one second; between two clocks of the hull a plan shares the time among both."""
    asked = replace(ASKED, energy_basis=basis, local_epochs=epochs, round_s=1.0 + epochs * (round_s - 1.0))
    share = solve(asked, batch_size=8).devices[0]
    point = {mhz * 1e6: k for k, mhz in enumerate(MHZ)}
    idle_w = 1.944 if basis == "added" else 0.0
    rows = [point[segment.freq_hz] for segment in share.segments]
    counts = np.array([segment.samples for segment in share.segments])
    seconds = float(counts @ BOARD.s_per_sample[rows])
    joules = float(counts @ BOARD.j_per_sample[rows]) - idle_w * seconds
    assert counts.sum() == epochs * 100
    assert share.executed_compute_s == pytest.approx(seconds, rel=1e-12)
    assert share.executed_compute_j == pytest.approx(joules, rel=1e-12)
    assert seconds + share.upload_s <= asked.round_s * (1 + 1e-12)
