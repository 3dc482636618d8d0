from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import energy


def test_seconds_and_clock_are_inverse():
    assert energy.seconds_per_sample(2e9, 0.5, 3e9) == pytest.approx(2.0)
    assert energy.freq_for_seconds(2.0, 0.5, 3e9) == pytest.approx(2e9)


def test_busy_power_by_hand():
    # 2 W + 1e-27 * 8e27 W
    assert energy.busy_power_w(2e9, 2.0, 1e-27) == pytest.approx(10.0)


def test_joules_per_sample_is_power_times_seconds():
    # at 2 s a sample the clock is 2 GHz: 10 W for 2 s
    assert energy.joules_per_sample(2.0, 0.5, 3e9, 2.0, 1e-27) == pytest.approx(20.0)


def test_the_papers_law_is_the_special_case():
    # no static power, no fixed seconds: kappa * w * f**2
    assert energy.joules_per_sample(0.5, 0.0, 1e9, 0.0, 1e-27) == pytest.approx(1e-27 * 1e9 * 4e18)


def test_above_idle():
    assert energy.above_idle(20.0, 2.0, 1.5) == pytest.approx(17.0)


def cheapest(price_w, fixed_s=0.0, static_w=2.0, low=1e6, high=1e10):
    row = [np.array([value]) for value in (price_w, fixed_s, 1e9, static_w, 1e-27, low, high)]
    return float(energy.cheapest_freq(*row)[0])


def test_cheapest_clock_without_fixed_seconds_is_a_cube_root():
    # P_s + price = 2 kappa f**3: (2 + 14) / 2e-27 = 8e27
    assert cheapest(14.0) == pytest.approx(2e9, rel=1e-14)


def test_cheapest_clock_with_fixed_seconds_by_hand():
    # 3 kappa a f**4 + 2 kappa w f**3 = P w at f = 1e9, a = 1: 3e9 + 2e9 = P * 1e9, P = 5
    assert cheapest(3.0, fixed_s=1.0) == pytest.approx(1e9, rel=1e-14)


def test_cheapest_clock_in_small_units():
    # the same with hertz in units of 1e12: slopes below 1 must be followed too
    row = [np.array([value]) for value in (3.0, 1.0, 1e-3, 2.0, 1e9, 1e-6, 1e-2)]
    assert float(energy.cheapest_freq(*row)[0]) == pytest.approx(1e-3, rel=1e-14)


def test_cheapest_clock_stays_within_the_limits():
    assert cheapest(14.0, high=1.5e9) == 1.5e9
    assert cheapest(14.0, low=3e9) == 3e9
    assert cheapest(0.0, static_w=-1.0) == 1e6  # below idle: as slow as can be
    assert cheapest(0.0, static_w=0.0) == 1e6


@given(price=st.floats(0, 100), fixed=st.floats(0, 10), static=st.floats(-1, 10), other=st.floats(1e8, 3e9))
def test_no_other_clock_is_cheaper(price, fixed, static, other):
    def cost(freq):
        tau = energy.seconds_per_sample(freq, fixed, 1e9)
        return tau * (energy.busy_power_w(freq, static, 1e-27) + price)

    best = cheapest(price, fixed, static, 1e8, 3e9)
    assert cost(best) <= cost(other) + 1e-12 * abs(cost(other))


TAU = np.array([5.0, 4.0, 3.0, 2.0, 1.0])


def test_hull_drops_dominated_and_rising_points():
    # Slowest first, as from a table ascending in clock. (5, 2.5) is dearer than (4, 2); (3, 3.9) is above the chord
    # from (2, 4) to (4, 2), which passes (3, 3).
    joules = np.array([2.5, 2.0, 3.9, 4.0, 8.0])
    assert energy.falling_hull(TAU, joules).tolist() == [4, 3, 1]


def test_hull_compares_with_its_last_two_points():
    # slopes -4, -3, then 4.5 lies above the chord from 6 to 4: -1 after it
    tau, joules = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([13.0, 9.0, 6.0, 5.5, 4.0])
    assert energy.falling_hull(tau, joules).tolist() == [0, 1, 2, 4]


def test_hull_drops_points_on_a_chord():
    assert energy.falling_hull(TAU, np.array([1.0, 2.0, 3.0, 4.0, 5.0])).tolist() == [4, 0]


def test_hull_of_equal_seconds_keeps_the_cheaper():
    tau, joules = np.array([1.0, 1.0, 2.0]), np.array([3.0, 2.0, 1.0])
    assert energy.falling_hull(tau, joules).tolist() == [1, 2]


def test_hull_of_one_point_and_of_rising_points():
    assert energy.falling_hull(np.array([1.0]), np.array([3.0])).tolist() == [0]
    assert energy.falling_hull(np.array([1.0, 2.0]), np.array([3.0, 3.0])).tolist() == [0]


def test_the_compute_module_runs_at_1950_mhz_as_a_board_and_at_1200_added():
    mhz = np.array([1200.0, 1500, 1800, 1950, 2000, 2100])
    seconds = np.array([209.0, 183, 161, 153, 150, 145])
    board = seconds * np.array([2.521, 2.740, 3.029, 3.178, 3.271, 3.477])
    assert mhz[energy.falling_hull(seconds, board)[-1]] == 1950
    assert mhz[energy.falling_hull(seconds, energy.above_idle(board, seconds, np.full(6, 1.944)))[-1]] == 1200


def test_hull_energy_interpolates_waits_and_refuses():
    # the second row is padded by its last point
    hull_tau = np.array([[1.0, 2.0, 4.0], [1.0, 3.0, 3.0]])
    hull_j = np.array([[8.0, 4.0, 2.0], [6.0, 2.0, 2.0]])
    read = lambda a, b: energy.hull_energy(np.array([a, b]), hull_tau, hull_j).tolist()  # noqa: E731
    assert read(1.5, 2.0) == pytest.approx([6.0, 4.0])
    assert read(3.0, 3.0) == pytest.approx([3.0, 2.0])
    assert read(9.0, 9.0) == pytest.approx([2.0, 2.0])
    assert read(1.0, 0.9) == [8.0, math.inf]


def test_hull_energy_of_single_points():
    read = energy.hull_energy(np.array([1.0, 0.5]), np.array([[1.0], [1.0]]), np.array([[3.0], [3.0]]))
    assert read.tolist() == [3.0, math.inf]
