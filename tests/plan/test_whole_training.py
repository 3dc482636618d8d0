"""Rounds and joules to an accuracy, with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.plan.whole_training import Outlay, RoundCurve, outlays, reachable, rounds_to

PLAIN = RoundCurve(1.0, np.array([[0.2, 0.4, 0.5, 0.6], [0.4, 0.4, 0.5, 0.6]]))  # mean 0.3 0.4 0.5 0.6
FILLED = RoundCurve(2.0, np.array([[0.5, 0.75, 0.5, 0.875]]))  # the two in the middle are pooled to 0.625


def test_seeds_are_averaged_and_a_fall_is_pooled() -> None:
    np.testing.assert_allclose(PLAIN.monotone, [0.3, 0.4, 0.5, 0.6])
    np.testing.assert_allclose(FILLED.monotone, [0.5, 0.625, 0.625, 0.875])


def test_rounds_by_hand() -> None:
    assert rounds_to(PLAIN, 0.45) == pytest.approx(2.5)
    assert rounds_to(PLAIN, 0.6) == pytest.approx(4.0)
    assert rounds_to(PLAIN, 0.61) is None
    assert rounds_to(PLAIN, 0.1) == 1.0
    assert rounds_to(FILLED, 0.625) == pytest.approx(2.0)
    assert rounds_to(FILLED, 0.75) == pytest.approx(3.5)


def test_the_cheapest_comes_first_and_what_cannot_be_is_left_out() -> None:
    joules = {1.0: 10.0, 2.0: 16.0, 3.0: None}
    never = RoundCurve(3.0, np.array([[0.9]]))
    found = outlays([PLAIN, FILLED, never], joules.__getitem__, 0.6)
    # plain FL 4 rounds of 10 J; filled 1 + 0.1 / 0.125 rounds of 16 J
    assert found == (Outlay(2.0, pytest.approx(1.8), 16.0), Outlay(1.0, pytest.approx(4.0), 10.0))
    assert found[0].total_j == pytest.approx(28.8)
    assert outlays([PLAIN], joules.__getitem__, 0.7) == ()
    assert reachable([PLAIN, FILLED]) == pytest.approx(0.875)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=10), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_accuracy_never_takes_fewer_rounds(values: list[float], one: float, other: float) -> None:
    curve = RoundCurve(1.0, np.array([values]))
    low, high = (rounds_to(curve, target) for target in sorted((one, other)))
    if high is not None:
        assert low is not None
        assert 1.0 <= low <= high * (1 + 1e-12) <= len(values) * (1 + 1e-9)
