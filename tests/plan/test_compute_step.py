from __future__ import annotations

import numpy as np
import pytest

from server.plan.build import build_fleet
from server.plan.compute_step import compute_joules
from server.plan.problem import AnalyticCpu
from tests.plan.builders import device, problem, table

CURVE = AnalyticCpu(0.5, 5e8, 2.0, 1.0, 1e-27, 1e8, 2e9)


def test_kinks_are_the_slopes_of_the_hull():
    fleet = build_fleet(problem(device("a", cpu=table((1e9, 4.0, 2.0), (2e9, 2.0, 4.0), (3e9, 1.0, 8.0))), device("b")))
    assert fleet.tables.kinks_w().tolist() == [[4.0, 1.0], [1.0, 0.0]]


def test_compute_joules_waits_and_forgives_rounding():
    fleet = build_fleet(problem(device("a"), device("b", cpu=CURVE), local_epochs=2))
    # 20 trained samples: in 30 s half and half; at 1 GHz 2 W for 20 s
    assert compute_joules(fleet, np.array([10.0, 10.0]), np.array([30.0, 20.0])) == pytest.approx([50.0, 40.0])
    # more time than the cheapest clock takes is waited out; less than the quickest is rounding
    cheapest = fleet.epochs * 10 * fleet.tau_idle_s
    plenty = compute_joules(fleet, np.array([10.0, 10.0]), np.array([1e3, 1e3]))
    assert plenty == pytest.approx(compute_joules(fleet, np.array([10.0, 10.0]), cheapest))
    assert compute_joules(fleet, np.array([10.0, 0.0]), np.array([19.999, 0.0])) == pytest.approx([60.0, 0.0])
