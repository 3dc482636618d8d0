"""A lower bound found again by golden sections, with nothing of the solver's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from server.plan.check_bound import dual_value_j, proves
from server.plan.check_least import lowest
from server.plan.random_fleet import random_fleet
from server.plan.solve import solve
from tests.plan.builders import KINDS, device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))  # one clock: 1 s and 1 J a sample


def two_devices():
    """min D1 + 4 D2 + 1 J of uploads with (1/D1 + 1/D2)/2 <= 3/80, each from 10 samples on."""
    return problem(device("a", cpu=SINGLE), device("b", cpu=table((1e9, 1.0, 4.0))), target=3 / 80)


def test_at_the_best_price_nothing_is_between_bound_and_plan():
    assert dual_value_j(two_devices(), 3200.0, 0.0) == pytest.approx(121.0, rel=1e-9)


def test_at_half_the_price_less_is_proved():
    # D + 800/D is least at sqrt(800), 2*sqrt(800); 4D + 800/D at sqrt(200), 8*sqrt(200); less 1600 * 3/80
    by_hand = 2 * math.sqrt(800) + 8 * math.sqrt(200) - 60 + 1
    assert dual_value_j(two_devices(), 1600.0, 0.0) == pytest.approx(by_hand, rel=1e-9)


def test_a_bound_that_is_too_high_is_not_proved():
    asked = two_devices()
    plan = solve(asked)
    for told, holds in ((plan, True), (replace(plan, lower_bound_j=plan.lower_bound_j * (1 + 1e-6)), False)):
        assert proves(asked, told, dual_value_j(asked, told.price_error_j, 0.0)) is holds
    cheaper = replace(plan, price_error_j=0.9 * plan.price_error_j)
    assert not proves(asked, cheaper, dual_value_j(asked, cheaper.price_error_j, 0.0))


@pytest.mark.parametrize("model", ["device_mean", "pooled"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_solver_states_what_its_prices_prove(kind, model):
    for seed in range(5):
        asked = replace(random_problem(seed, 1 + 3 * seed, kind, "mixed", 0.5), accuracy_model=model)
        plan = solve(asked)
        value_j = dual_value_j(asked, plan.price_error_j, plan.price_bandwidth_j_per_hz)
        assert plan.lower_bound_j == pytest.approx(value_j, rel=1e-11)
        assert proves(asked, plan, value_j)


def test_more_devices_than_are_looked_at_at_once():
    asked = random_fleet(1_500, 1, "mixed", tables=True)
    plan = solve(asked)
    value_j = dual_value_j(asked, plan.price_error_j, plan.price_bandwidth_j_per_hz)
    assert plan.lower_bound_j == pytest.approx(value_j, rel=1e-11)


def test_what_cannot_be_proved_is_refused():
    with pytest.raises(ValueError, match="not convex"):
        dual_value_j(random_fleet(3, 1, "levels"), 1.0, 1.0)
    with pytest.raises(ValueError, match="a price is negative"):
        dual_value_j(two_devices(), -1.0, 0.0)


def test_the_least_of_convex_functions():
    # (x - 1)**2 inside, at the left end, at the right end; |x - 0.3| has a kink; infinite up to 0.5
    centre = np.array([1.0, -2.0, 5.0])
    least, where = lowest(lambda x: (x - centre) ** 2, np.zeros(3), np.full(3, 3.0))
    assert least == pytest.approx([0.0, 4.0, 4.0], abs=1e-15)
    assert where == pytest.approx([1.0, 0.0, 3.0], abs=1e-7)
    assert lowest(lambda x: np.abs(x - 0.3), np.zeros(1), np.ones(1))[1] == pytest.approx([0.3], abs=1e-12)
    walled, _ = lowest(lambda x: np.where(x < 0.5, np.inf, x), np.zeros(1), np.ones(1))
    assert walled == pytest.approx([0.5], abs=1e-12)
