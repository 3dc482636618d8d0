"""One heat capacity behind one resistance; numbers by hand, and a simulation in small steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.thermal import mean_between_c, mean_gap, power_from_w


def test_mean_of_a_window_that_halves_its_gap() -> None:
    """From 20 to 60 with 100 to come: the gap falls from 80 to 40 in ln 2 constants; its mean is 40 / ln 2."""
    seconds = np.array([100.0 * math.log(2)])
    found = mean_between_c(np.array([20.0]), np.array([60.0]), seconds, 100.0)
    assert found == pytest.approx([100.0 - 40.0 / math.log(2)])
    assert mean_gap(np.array([math.inf]), 100.0) == pytest.approx([0.0])


def test_settled_watts_by_hand() -> None:
    """5 W seen at 50 C, 0.02 W a degree, 25 C + 10 C/W: P = 5 + 0.02 (25 + 10 P - 50), P = 4.5 / 0.8."""
    terms = {"ambient_c": 25.0, "resistance_c_per_w": 10.0, "time_constant_s": 60.0, "w_per_c": 0.02}
    found = power_from_w(np.array([5.0]), np.array([50.0]), start_c=0.0, seconds=math.inf, **terms)
    assert found == pytest.approx([5.625])


def test_a_window_from_cold_against_small_steps() -> None:
    """60 s from 30 C stepped by 10 ms, watts following the temperature as it rises."""
    ambient_c, resistance, tau_s, slope = 25.0, 8.0, 60.0, 0.01
    now_c, joules, step_s = 30.0, 0.0, 0.01
    for _ in range(6000):
        watts = 5.0 + slope * (now_c - 55.0)
        joules += watts * step_s
        now_c += (ambient_c + resistance * watts - now_c) * step_s / tau_s
    found = power_from_w(
        np.array([5.0]), np.array([55.0]), start_c=30.0, seconds=60.0,
        ambient_c=ambient_c, resistance_c_per_w=resistance, time_constant_s=tau_s, w_per_c=slope,
    )  # fmt: skip
    assert found == pytest.approx([joules / 60.0], rel=1e-3)
