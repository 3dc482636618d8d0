from __future__ import annotations

import math

import pytest

from server.plan.roots import falling_root


def counted(f):
    calls = []

    def call(x):
        calls.append(x)
        return f(x)

    return call, calls


def test_a_smooth_root_takes_few_steps():
    f, calls = counted(lambda x: (math.exp(-x) - 0.2, -math.exp(-x)))
    root = falling_root(f, 0.0, 1e-12, -90.0, 90.0)
    assert root == pytest.approx(math.log(5.0), abs=1e-11)
    assert math.exp(-root) <= 0.2
    assert len(calls) <= 7


@pytest.mark.parametrize("guess", [-40.0, 0.0, 2.999, 3.0, 30.0])
def test_a_root_is_found_from_either_side(guess):
    assert 3.0 <= falling_root(lambda x: (3.0 - x, -1.0), guess, 1e-6, -90.0, 90.0) <= 3.0 + 1e-6


@pytest.mark.parametrize("slope", [0.0, -1e-9, -1e9, 1.0])
def test_a_slope_that_is_wrong_costs_time_only(slope):
    assert falling_root(lambda x: (3.0 - x, slope), 0.0, 1e-6, -90.0, 90.0) == pytest.approx(3.0, abs=1.1e-6)


def test_a_jump_ends_on_its_far_side():
    root = falling_root(lambda x: (5.0 if x < 3.0 else -1.0, 0.0), 0.0, 1e-9, -90.0, 90.0)
    assert 3.0 <= root <= 3.0 + 1e-12


def test_infinite_values_are_crossed():
    root = falling_root(lambda x: (math.inf, 0.0) if x < 1.0 else (2.0 - x, -1.0), -5.0, 1e-9, -90.0, 90.0)
    assert root == pytest.approx(2.0, abs=1e-8)


def test_where_there_is_no_root_the_search_ends_at_its_edge():
    assert falling_root(lambda x: (-1.0, 0.0), 0.0, 1e-6, -90.0, 90.0) == -90.0
    assert falling_root(lambda x: (1.0, 0.0), 0.0, 1e-6, -90.0, 90.0) == 90.0
