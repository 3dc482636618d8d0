"""The best clocks at a price of time, by hand and against the law's own derivative."""

from __future__ import annotations

import numpy as np
import pytest

from models import energy
from server.plan.blocks import split
from server.plan.build import build_fleet
from server.plan.compute_sides import CurveSide, TableSide
from server.plan.problem import AnalyticCpu
from tests.plan.builders import device, problem, table

STEEP = table((1e9, 4.0, 2.0), (2e9, 2.0, 4.0), (3e9, 1.0, 8.0))  # kinks at 4 W and 1 W


def side_of(*cpus) -> TableSide | CurveSide:
    devices = (device(f"d{i}", cpu=cpu) for i, cpu in enumerate(cpus))
    with np.errstate(divide="ignore"):
        return split(build_fleet(problem(*devices)))[0].compute


def prices(*values):
    return np.array(values, dtype=float)


def test_a_table_between_its_kinks():
    side = side_of(STEEP, STEEP, STEEP, STEEP)
    pace = side.at(prices(0.0, 0.5, 2.0, 9.0))
    assert pace.quick_s.tolist() == [4.0, 4.0, 2.0, 1.0]
    assert pace.slow_s.tolist() == [4.0, 4.0, 2.0, 1.0]
    assert pace.priced_j.tolist() == [2.0, 4.0, 8.0, 17.0]
    assert not pace.by_price.any()


def test_at_a_kink_two_points_cost_the_same():
    pace = side_of(STEEP, STEEP).at(prices(1.0, 4.0))
    assert pace.quick_s.tolist() == [2.0, 1.0]
    assert pace.slow_s.tolist() == [4.0, 2.0]
    assert pace.priced_j.tolist() == [6.0, 12.0]


def test_the_way_to_a_price_stops_at_the_kink_between():
    side = side_of(*[STEEP] * 6)
    here = prices(0.5, 0.5, 9.0, 9.0, 1.0, 4.0)
    there = prices(0.9, 9.0, 2.0, 0.1, 2.0, 2.0)
    # nothing between; two: the one that halves them; one; two; leaving a kink, up and down
    target, stopped = side.stop(here, there)
    assert stopped.tolist() == [1, 2, 3]
    assert target[[0, 4, 5]].tolist() == [0.9, 2.0, 2.0]
    assert target[2] == 4.0
    assert set(target[[1, 3]]) <= {1.0, 4.0}


def test_hulls_of_different_length():
    pace = side_of(STEEP, table((1e9, 3.0, 7.0))).at(prices(0.0, 5.0))
    assert pace.quick_s.tolist() == [4.0, 3.0]
    assert pace.priced_j.tolist() == [2.0, 22.0]


def test_a_curve_by_hand():
    # added static power 1 W, price 4 W: 3 kappa a f**4 + 2 kappa w f**3 = 1.5e9 + 1e9 = P*w at 1 GHz
    cpu = AnalyticCpu(0.5, 5e8, 2.0, 1.0, 1e-27, 1e8, 2e9)
    pace = side_of(cpu).at(prices(4.0))
    assert pace.quick_s == pytest.approx([1.0])
    assert pace.priced_j == pytest.approx([6.0])
    # without a fixed part: f = cbrt(P/(2 kappa))
    pace = side_of(AnalyticCpu(0.0, 1e9, 0.0, 0.0, 1e-27, 1e8, 9e9)).at(prices(16.0))
    assert pace.quick_s == pytest.approx([0.5])
    assert pace.priced_j == pytest.approx([12.0])


def test_a_curve_within_its_clocks():
    cpu = AnalyticCpu(0.0, 1e9, 0.0, 0.0, 1e-27, 5e8, 2e9)
    with np.errstate(divide="ignore"):  # no watts at all: the lowest clock
        pace = side_of(cpu, cpu).at(prices(0.0, 1e3))
    assert pace.quick_s == pytest.approx([2.0, 0.5])
    assert pace.by_price.tolist() == [0.0, 0.0]


def test_any_curve_against_newton():
    rng = np.random.default_rng(0)
    count = 2000
    fixed_s = np.where(rng.random(count) < 0.1, 0.0, 10.0 ** rng.uniform(-8, 4, count))
    cycles, kappa = 10.0 ** rng.uniform(5, 11, count), 10.0 ** rng.uniform(-33, -22, count)
    static_w, price = 10.0 ** rng.uniform(-3, 2, count), 10.0 ** rng.uniform(-3, 3, count)
    low, high = np.full(count, 1e-3), np.full(count, 1e30)
    with np.errstate(divide="ignore"):
        log_fixed = 3 * np.log(1.5 * fixed_s / cycles)
        side = CurveSide(fixed_s, cycles, static_w, kappa, low, high, -np.log(2 * kappa), log_fixed)
        pace, nearby = side.at(price), side.at(price * (1 + 1e-6))
    freq = energy.cheapest_freq(price, fixed_s, cycles, static_w, kappa, low, high)
    tau = energy.seconds_per_sample(freq, fixed_s, cycles)
    assert pace.quick_s == pytest.approx(tau, rel=1e-9)
    assert pace.priced_j == pytest.approx(tau * (energy.busy_power_w(freq, static_w, kappa) + price), rel=1e-14)
    scaling = cycles / freq > 0.1 * fixed_s  # elsewhere the difference drowns in the fixed part
    slope = (nearby.quick_s - pace.quick_s)[scaling] / (1e-6 * price[scaling])
    assert slope == pytest.approx(pace.by_price[scaling], rel=1e-3)
