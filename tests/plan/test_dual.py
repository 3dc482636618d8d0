"""The search for prices: at the edges and when the quick way fails."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from server.plan import device_step as device_step_module
from server.plan import dual as dual_module
from server.plan.build import build_fleet
from server.plan.device_step import device_step, joules
from server.plan.dual import bound, solve_dual
from tests.plan.builders import device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))


def root(wanted, guess, near=1e-6):
    return dual_module._price_root(lambda log_price: wanted - log_price, guess, 1.0, near)[1]


@pytest.mark.parametrize("guess", [-20.0, 0.0, 2.999, 3.0, 30.0])
def test_a_price_is_found_from_either_side(guess):
    assert 3.0 <= root(3.0, guess) <= 3.0 + 1e-6


def test_a_price_that_cannot_matter_ends_low():
    assert root(-math.inf, 0.0) < -90.0


def test_a_price_that_is_never_enough_ends_high():
    assert root(math.inf, 0.0) > 90.0


def test_both_ways_agree(monkeypatch):
    fleet = build_fleet(random_problem(4, 4, "scheduled", "mixed", 0.5))
    quick = solve_dual(fleet)
    monkeypatch.setattr(dual_module, "_NEWTON_STEPS", 0)
    nested = solve_dual(fleet)
    assert nested.bound_j == pytest.approx(quick.bound_j, rel=1e-8)
    assert nested.price_error_j == pytest.approx(quick.price_error_j, rel=1e-4)
    assert nested.price_medium_j == pytest.approx(quick.price_medium_j, rel=1e-4)


@pytest.mark.parametrize("slopes", [np.zeros((2, 2)), np.full((2, 2), np.nan)])
def test_a_singular_start_falls_back_to_bracketing(monkeypatch, slopes):
    fleet = build_fleet(random_problem(4, 3, "scheduled", "tables", 0.5))
    quick = solve_dual(fleet)
    monkeypatch.setattr(dual_module._Search, "_slopes", lambda *_: slopes)
    assert solve_dual(fleet).bound_j == pytest.approx(quick.bound_j, rel=1e-8)


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


def test_a_negative_price_is_no_bound():
    """Why lambda >= 0 matters: the 'bound' of a negative price may lie above the optimum."""
    fleet = build_fleet(problem(device(cpu=SINGLE), target=0.2))
    step = replace(device_step(fleet, 0.0, 0.0), price_error_j=-100.0)
    cheated = float(step.bound_j.sum()) - 100.0 * fleet.mean_error(fleet.local) + 100.0 * 0.2
    assert cheated > 10.5


def test_forcing_the_upload_to_fill_the_round_is_caught():
    """s = T - t without early finish costs more than the optimum, and the certificate of the true problem says so."""
    fleet = build_fleet(problem(device(), round_s=100.0))
    step = device_step(fleet, 0.0, 0.0)
    forced_j = 20.0 + 0.5 * 80.0
    assert bound(fleet, step) == pytest.approx(20.5)
    assert forced_j > 2 * bound(fleet, step)


def test_a_time_price_by_hand():
    # 16 s for 10 samples at 1 s / 3 J or 2 s / 2 J: the kink's price is 1 W, and the answer is the half-way mixture
    fleet = build_fleet(problem(device(), round_s=16.0))
    step = device_step(fleet, 0.0, 0.0)
    assert step.price_s_w[0] == pytest.approx(1.0, rel=1e-9)
    assert step.jumps.tolist() == [True]
    assert step.points.compute_s[0] == pytest.approx(15.0)
    assert step.bound_j[0] == pytest.approx(25.5)


def test_a_warm_start_changes_nothing():
    fleet = build_fleet(random_problem(6, 5, "mixed", "mixed", 0.5))
    first = device_step(fleet, 1e3, 1e-6)
    for price_error, price_medium in ((1.01e3, 1e-6), (5e4, 1e-5), (0.0, 1e-6), (1e3, 0.0)):
        cold = device_step(fleet, price_error, price_medium)
        warm = device_step(fleet, price_error, price_medium, first)
        assert warm.bound_j == pytest.approx(cold.bound_j, rel=1e-10)
        assert warm.points.samples == pytest.approx(cold.points.samples, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "cpus", "round_s", "steps", "answers"),
    [
        ("wired", "tables", 38.0, 11, 110),
        ("wired", "curves", 24.0, 12, 150),
        ("scheduled", "tables", 38.0, 13, 210),
        ("mixed", "curves", 38.0, 17, 220),
    ],
)
def test_the_search_is_short(monkeypatch, kind, cpus, round_s, steps, answers):
    """Starts, warm starts, kinks and slopes change no plan, only how long it takes: so count."""
    counted = {"steps": 0, "answers": 0}
    answer, step = device_step_module._answer, dual_module.device_step

    def counted_answer(*given):
        counted["answers"] += 1
        return answer(*given)

    def counted_step(*given):
        counted["steps"] += 1
        return step(*given)

    monkeypatch.setattr(device_step_module, "_answer", counted_answer)
    monkeypatch.setattr(dual_module, "device_step", counted_step)
    solve_dual(build_fleet(replace(random_problem(12, 8, kind, cpus, 0.4), round_s=round_s)))
    assert counted["steps"] <= steps
    assert counted["answers"] <= answers
