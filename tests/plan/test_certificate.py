"""Solvers that are wrong in the ways that solvers are: the certificate tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.plan.build import build_fleet
from server.plan.device_step import device_step, joules
from server.plan.dual import bound, solve_dual
from server.plan.exact import solve_exact
from server.plan.points import Points
from server.plan.solve import relative_gap
from tests.plan.builders import device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))


def fleet_of(kind="scheduled"):
    return build_fleet(replace(random_problem(5, 12, kind, "mixed", 0.5), round_s=50.0))


def gap(fleet, points: Points) -> float:
    return relative_gap(float(joules(fleet, points).sum()), solve_exact(fleet).dual.bound_j)


def test_the_sound_solution_passes():
    fleet = fleet_of()
    assert -1e-9 <= gap(fleet, solve_exact(fleet).points) <= 1e-9


def test_a_truncated_search_is_caught():
    """A solver that never looks below the upper third of the clocks finds a fine optimum, of another problem."""
    fleet = fleet_of()
    slowest_s = fleet.tau_min_s + 0.3 * (fleet.tau_idle_s - fleet.tau_min_s)
    curves, tables = fleet.curves, fleet.tables
    kept = tables.tau_s <= np.maximum(slowest_s[tables.rows, None], tables.tau_s[:, :1])
    last = kept.sum(axis=1, keepdims=True) - 1
    point = np.minimum(np.arange(tables.tau_s.shape[1]), last)
    columns = (np.take_along_axis(part, point, axis=1) for part in (tables.tau_s, tables.joules, tables.freq_hz))
    truncated = replace(
        fleet,
        tau_idle_s=np.minimum(fleet.tau_idle_s, slowest_s),
        tables=replace(tables, **dict(zip(("tau_s", "joules", "freq_hz"), columns, strict=True))),
        curves=replace(curves, freq_min_hz=curves.cycles / (slowest_s[curves.rows] - curves.fixed_s)),
    )
    found = solve_exact(truncated)
    assert relative_gap(float(joules(truncated, found.points).sum()), found.dual.bound_j) < 1e-9  # so it believes
    assert gap(fleet, found.points) > 1e-3


def test_an_upload_forced_to_fill_the_round_is_caught():
    """s = T - t without early finish: 20 J of training and 80 s of a radio that draws 0.5 W, where 1 s would do."""
    fleet = build_fleet(problem(device(), round_s=100.0))
    forced_j = 20.0 + 0.5 * 80.0
    assert solve_exact(fleet).dual.bound_j == pytest.approx(20.5)
    assert relative_gap(forced_j, solve_exact(fleet).dual.bound_j) > 0.6


@pytest.mark.parametrize("name", ["price_error_j", "price_medium_j", "price_s_w"])
def test_a_negative_price_is_caught(name):
    """What it would 'bound' may lie above the optimum: -100 J per unit of error claims 20.5 J where 10.5 J do."""
    fleet = build_fleet(problem(device(cpu=SINGLE), target=0.2))
    step = device_step(fleet, 0.0, 0.0)
    assert float(step.bound_j.sum()) - 100.0 * fleet.mean_error(fleet.local) + 100.0 * 0.2 > 10.5 + 9.0
    wrong = replace(step, **{name: -np.ones(1) if name == "price_s_w" else -100.0})
    with pytest.raises(ValueError, match="a price is negative"):
        bound(fleet, wrong)


def test_no_plan_is_below_the_bound_of_any_prices():
    fleet = fleet_of()
    best, energy_j = solve_dual(fleet), float(joules(fleet, solve_exact(fleet).points).sum())
    for lower, upper in ((0.5, 1.0), (1.0, 3.0), (2.0, 0.1), (0.0, 1.0)):
        step = device_step(fleet, lower * best.price_error_j, upper * best.price_medium_j)
        assert bound(fleet, step) <= best.bound_j * (1 + 1e-9) <= energy_j * (1 + 2e-9)
