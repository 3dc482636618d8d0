"""What more would be worth, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from server.plan.problem import AnalyticCpu
from server.plan.reasons import Limit, reasons
from server.plan.solve import solve
from tests.plan.builders import device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))


def why(asked):
    plan = solve(asked)
    return plan, reasons(asked, plan.devices, len(plan.devices))


def test_everybody_who_can_choose_pays_the_price_of_all():
    # 40 and 20 samples of 1 and 4 J, err = 1/x: 2 devices * 1 J * 40**2 = 2 * 4 J * 20**2 = 3200 J
    plan, found = why(problem(device("a", cpu=SINGLE), device("b", cpu=table((1e9, 1.0, 4.0))), target=3 / 80))
    assert plan.price_error_j == pytest.approx(3200.0, rel=1e-6)
    assert found.error_low_j == pytest.approx([3200.0, 3200.0], rel=1e-5)
    assert found.error_high_j == pytest.approx(found.error_low_j)
    assert found.limit.tolist() == [Limit.PRICE, Limit.PRICE]
    assert found.second_high_w.tolist() == [0.0, 0.0]  # there is time to spare


def test_limits_by_hand():
    dear = device("dear", cpu=table((1e9, 1.0, 100.0)))
    full = device("full", cpu=SINGLE, storage=5)
    hurried = device("hurried", cpu=table((1e9, 60.0, 1.0)))  # 999 s: 16 samples
    plan, found = why(problem(dear, full, hurried, device("free", cpu=SINGLE), target=0.0625))
    assert [Limit(limit).name for limit in found.limit] == ["LOCAL", "STORAGE", "TIME", "PRICE"]
    assert found.error_low_j[0] > plan.price_error_j  # 4 devices * 100 J * 10**2
    assert found.error_low_j[0] == pytest.approx(40_000.0)
    assert found.error_high_j[1] == pytest.approx(4 * 15**2)
    assert found.error_low_j[3] == pytest.approx(plan.price_error_j, rel=1e-5)
    assert np.isinf(found.second_high_w[2])


def test_a_second_at_a_kink_and_between_two():
    # 1 s / 3 J and 2 s / 2 J: between them a second saves a joule; at the slow one nothing, before it a joule
    shared = why(problem(device(), round_s=16.0))[1]
    assert (shared.second_low_w[0], shared.second_high_w[0]) == (1.0, 1.0)
    slow = why(problem(device(), round_s=21.0))[1]
    assert (slow.second_low_w[0], slow.second_high_w[0]) == (0.0, 1.0)
    quick = why(problem(device(), round_s=11.0))[1]
    assert (quick.second_low_w[0], quick.second_high_w[0]) == (1.0, np.inf)


def test_a_second_on_an_analytic_law():
    # f = 1 GHz, no static power: e = kappa w**3 / tau**2, so a second more of ten samples saves 2 J / s
    found = why(problem(device(cpu=AnalyticCpu(0.0, 1e9, 0.0, 0.0, 1e-27, 1e8, 2e9)), round_s=11.0))[1]
    assert (found.second_low_w[0], found.second_high_w[0]) == (pytest.approx(2.0), pytest.approx(2.0))


@pytest.mark.parametrize("kind", ["wired", "scheduled", "shared_link"])
@pytest.mark.parametrize("cpus", ["tables", "curves"])
def test_the_price_of_all_lies_in_the_range_of_who_can_choose(kind, cpus):
    asked = random_problem(3, 60, kind, cpus, 0.5)
    plan, found = why(asked)
    free = found.limit == Limit.PRICE
    assert free.sum() > 10
    assert (found.error_low_j[free] <= plan.price_error_j * 1.001).all()
    assert (found.error_high_j[free] >= plan.price_error_j * 0.999).all()
    roomy = asked.devices.storage_samples > 0
    local, full = found.limit == Limit.LOCAL, (found.limit == Limit.STORAGE) & roomy
    assert (found.error_high_j[local] >= plan.price_error_j * 0.999).all()
    assert (found.error_low_j[full] <= plan.price_error_j * 1.001).all()
