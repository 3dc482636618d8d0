"""The search for prices: at the edges and when the quick way fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.plan import crowd as crowd_module
from server.plan import price_search
from server.plan.build import build_fleet
from server.plan.device_step import device_step, joules
from server.plan.dual import bound, bracketed_dual, quick_dual, solve_dual
from server.plan.subset import subset
from tests.plan.builders import KINDS, device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cpus", ["tables", "curves"])
def test_both_ways_agree(kind, cpus):
    fleet = build_fleet(replace(random_problem(4, 4, kind, cpus, 0.3), round_s=45.0))
    quick, patient = quick_dual(fleet), bracketed_dual(fleet)
    assert quick is not None
    assert patient.bound_j == pytest.approx(quick.bound_j, rel=1e-8)
    assert patient.price_error_j == pytest.approx(quick.price_error_j, rel=1e-4)
    assert patient.price_medium_j == pytest.approx(quick.price_medium_j, rel=1e-4)


def test_where_newton_fails_the_prices_are_bracketed(monkeypatch):
    fleet = build_fleet(random_problem(4, 3, "scheduled", "tables", 0.5))
    quick = solve_dual(fleet)
    monkeypatch.setattr(price_search, "_NEWTON_STEPS", 1)
    assert quick_dual(fleet) is None
    assert solve_dual(fleet).bound_j == pytest.approx(quick.bound_j, rel=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_fleet_starts_from_the_prices_of_a_sample(monkeypatch, kind):
    fleet = build_fleet(random_problem(4, 60, kind, "mixed", 0.5))
    alone = solve_dual(fleet)
    monkeypatch.setattr(price_search, "_SAMPLE", 20)
    sampled = solve_dual(fleet)
    assert sampled.bound_j == pytest.approx(alone.bound_j, rel=1e-9)
    assert sampled.price_error_j == pytest.approx(alone.price_error_j, rel=1e-4)


def test_a_sample_that_needs_no_price_is_no_obstacle(monkeypatch):
    # all but the last have data enough for the target; a sample without the last knows no lambda
    rich = [device(f"d{i}", local=(40, 0), cpu=SINGLE) for i in range(30)]
    fleet = build_fleet(problem(*rich, device("poor", cpu=SINGLE), target=1 / 38.5))
    alone = solve_dual(fleet)
    assert alone.price_error_j > 0
    monkeypatch.setattr(price_search, "_SAMPLE", 3)
    assert solve_dual(fleet).price_error_j == pytest.approx(alone.price_error_j, rel=1e-6)


def counted_steps(monkeypatch):
    counted = []
    found = crowd_module.Crowd._found
    monkeypatch.setattr(
        crowd_module.Crowd, "_found", lambda self, index, *given: counted.append(index) or found(self, index, *given)
    )
    return counted


@pytest.mark.parametrize("kind", ["wired", "scheduled", "fixed_power", "shared_link"])
def test_the_search_is_short(monkeypatch, kind):
    """Starts and slopes change no plan, only how long it takes: so count how often the devices are asked."""
    fleet = build_fleet(replace(random_problem(12, 40, kind, "curves", 0.4), round_s=45.0))
    counted = counted_steps(monkeypatch)
    before = solve_dual(fleet)
    assert len(counted) <= 10
    counted.clear()
    later = replace(fleet, upload_bits=1.002 * fleet.upload_bits)
    again = solve_dual(later, warm=before)
    assert len(counted) <= 5
    assert again.bound_j == pytest.approx(solve_dual(later).bound_j, rel=1e-9)


def test_prices_of_another_fleet_are_a_start_too():
    fleet = build_fleet(random_problem(12, 8, "scheduled", "mixed", 0.4))
    other = solve_dual(subset(fleet, np.arange(5), fleet.capacity))
    assert solve_dual(fleet, warm=other).bound_j == pytest.approx(solve_dual(fleet).bound_j, rel=1e-9)
    # and prices that were nothing are no obstacle
    free = replace(other, price_error_j=0.0, price_medium_j=0.0)
    assert solve_dual(fleet, warm=free).bound_j == pytest.approx(solve_dual(fleet).bound_j, rel=1e-9)


def test_a_lone_radio_has_the_whole_band():
    fleet = build_fleet(random_problem(4, 1, "scheduled", "tables", None))
    found = solve_dual(fleet)
    assert found.step.points.bandwidth_hz[0] == fleet.capacity
    assert joules(fleet, found.step.points).sum() == pytest.approx(found.bound_j, rel=1e-12)


def test_wrong_prices_bound_from_below_and_right_ones_tightly():
    # one clock of 1 J a sample, err = 1/x, target 1/20: the optimum is 20 J and 0.5 J of upload at lambda = 400
    fleet = build_fleet(problem(device(cpu=SINGLE), target=1 / 20))
    at = lambda price: bound(fleet, device_step(fleet, price, 0.0))  # noqa: E731
    assert at(400.0) == pytest.approx(20.5)
    # at lambda = 900 the device trains 30: 30 + 900/30 - 900/20
    assert at(900.0) == pytest.approx(15.5)
    # at lambda = 0 it trains its 10
    assert at(0.0) == pytest.approx(10.5)


def test_a_time_price_by_hand():
    # 16 s for 10 samples at 1 s / 3 J or 2 s / 2 J: the kink's price is 1 W, and the answer is the half-way mixture
    fleet = build_fleet(problem(device(), round_s=16.0))
    step = device_step(fleet, 0.0, 0.0)
    assert step.price_s_w.tolist() == [1.0]
    assert step.points.compute_s[0] == pytest.approx(15.0)
    assert step.bound_j[0] == pytest.approx(25.5)


def test_rounding_at_prices_beyond_measure_is_no_bound():
    # at lambda = 1e40 the sum over devices less lambda*Delta is noise of 1e24: nothing that a plan could be held to
    fleet = build_fleet(problem(device(cpu=SINGLE, storage=10), device("b", cpu=SINGLE, storage=10), target=1 / 20))
    assert bound(fleet, device_step(fleet, 1e40, 0.0)) < 41.0
