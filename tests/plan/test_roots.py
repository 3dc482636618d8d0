from __future__ import annotations

import numpy as np
import pytest

from server.plan.roots import falling_root


def test_many_smooth_roots_at_once():
    wanted = np.array([0.5, 2.0, 7.0])
    low, high = falling_root(lambda x: wanted**3 - x**3, np.zeros(3), np.full(3, 10.0), 1e-12)
    assert low == pytest.approx(wanted, abs=2e-12)
    assert high == pytest.approx(wanted, abs=2e-12)
    assert (high - low >= 0).all()
    assert (high - low <= 1e-12).all()


def test_a_jump_is_bracketed_from_both_sides():
    low, high = falling_root(lambda x: np.where(x < 3.0, 5.0, -1.0), np.zeros(1), np.full(1, 10.0), 1e-9)
    assert low[0] < 3.0 <= high[0]
    assert high[0] - low[0] <= 1e-9


def test_infinite_values_are_bisected():
    _, high = falling_root(lambda x: np.where(x < 1.0, np.inf, 2.0 - x), np.zeros(1), np.full(1, 10.0), 1e-9)
    assert high[0] == pytest.approx(2.0, abs=1e-8)


def test_near_enough_ends_the_search_on_the_right_side():
    calls = []

    def f(x):
        calls.append(x)
        return 1.0 - x

    _, high = falling_root(f, np.zeros(1), np.full(1, 10.0), 0.0, near=1e-3)
    assert 1.0 <= high[0] <= 1.0 + 1e-3
    assert len(calls) < 40


def test_steps_are_limited():
    calls = []

    def f(x):
        calls.append(x)
        return np.where(x < 3.0, 1.0, -1.0)

    falling_root(f, np.zeros(1), np.full(1, 10.0), 0.0, max_steps=5)
    assert len(calls) == 7


def test_few_steps_where_smooth():
    calls = []

    def f(x):
        calls.append(x)
        return np.exp(-x) - 0.2

    falling_root(f, np.zeros(1), np.full(1, 10.0), 1e-12)
    assert len(calls) < 16
