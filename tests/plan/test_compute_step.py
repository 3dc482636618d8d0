from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.plan.build import build_fleet
from server.plan.compute_step import cheapest_seconds, compute_joules, samples_at_price
from server.plan.problem import AnalyticCpu
from tests.plan.builders import device, problem, random_problem, table

CURVE = AnalyticCpu(0.5, 5e8, 2.0, 1.0, 1e-27, 1e8, 2e9)


def test_tables_and_curves_side_by_side():
    fleet = build_fleet(problem(device("a"), device("b", cpu=CURVE), device("c", cpu=table((1e9, 3.0, 7.0)))))
    tau, priced = cheapest_seconds(fleet, np.array([0.5, 3.5, 2.0]))
    # a: 2 J + 0.5*2 J at 2 s. b: added static power 1 W, price 3.5 W: 1.5 a f**4 k2 ... f = 1 GHz
    # (3 kappa a f**4 + 2 kappa w f**3 = 1.5e9 + 1e9 = P w = 5e8 P: P = 5) would need price 4; see below for b
    assert tau[[0, 2]].tolist() == [2.0, 3.0]
    assert priced[[0, 2]] == pytest.approx([3.0, 13.0])
    tau, priced = cheapest_seconds(fleet, np.array([1.5, 4.0, 0.0]))
    assert tau == pytest.approx([1.0, 1.0, 3.0])  # beyond the kink at 1 W; 0.5 + 0.5 s at 1 GHz
    assert priced == pytest.approx([4.5, 6.0, 7.0])  # 3 + 1.5; 1 s at 1 + 1 + 4 W


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


def test_no_accuracy_asked_means_the_local_samples():
    fleet = build_fleet(problem(device("a")))
    assert samples_at_price(fleet, np.array([1.0]), 1e9).tolist() == [10.0]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(0, 1e6), st.floats(1e-3, 10))
def test_no_other_amount_is_cheaper(seed, price_error_j, priced_j):
    fleet = build_fleet(random_problem(seed, 3, "wired", "mixed", 0.5, epochs=2))

    def cost(samples):
        return fleet.epochs * samples * priced_j + price_error_j / len(fleet) * fleet.losses(samples)

    best = samples_at_price(fleet, np.full(3, priced_j), price_error_j)
    assert (best >= fleet.local).all()
    assert (best <= fleet.most).all()
    for part in np.linspace(0, 1, 23):
        other = fleet.local + part * (fleet.most - fleet.local)
        assert (cost(best) <= cost(other) * (1 + 1e-12)).all()
