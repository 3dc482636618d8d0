"""Recursive least squares on what rounds measure, against numbers worked out by hand and against all at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.plan import refit

NAN = math.nan


def test_one_measurement_by_hand() -> None:
    """Own 0.03, drift 0.10, noise 0.02: variance seen 0.0009 + 0.01 + 0.0004 = 0.0113; ln 1.1 is shared out by it."""
    belief = refit.learn(refit.first_belief(np.array([0.03, 0.03])), 0, 2.0, 2.2)
    surprise = math.log(1.1)
    assert belief.mean == pytest.approx([surprise * 0.0009 / 0.0113, 0.0, surprise * 0.01 / 0.0113])
    assert belief.factor(0) == pytest.approx(math.exp(surprise * 0.0109 / 0.0113))
    assert belief.factor(1) == pytest.approx(math.exp(surprise * 0.01 / 0.0113))  # never measured, and yet corrected
    assert belief.deviation(0) ** 2 == pytest.approx(0.0109 - 0.0109**2 / 0.0113)
    assert belief.deviation(1) ** 2 == pytest.approx(0.0109 - 0.01**2 / 0.0113)
    assert belief.factors == pytest.approx([belief.factor(0), belief.factor(1)])


def test_a_point_without_uncertainty_gets_the_usual_one() -> None:
    belief = refit.first_belief(np.array([NAN, 0.5]))
    assert np.diag(belief.covariance) == pytest.approx([refit.POINT**2, 0.25, refit.DRIFT**2])


def test_time_passing_widens_the_drift_alone() -> None:
    belief = refit.next_round(refit.first_belief(np.array([0.03])))
    assert np.diag(belief.covariance) == pytest.approx([0.0009, 0.01 + 0.0001])


def test_a_miss_is_what_lies_beyond_two_deviations() -> None:
    belief = refit.first_belief(np.array([0.0]))  # drift 0.1 and noise 0.02: sqrt(0.0104) = 0.10198
    assert not refit.outlook(belief, 0, 1.0, math.exp(0.2039)).missed
    assert refit.outlook(belief, 0, 1.0, math.exp(0.2041)).missed
    assert refit.outlook(belief, 0, 1.0, math.exp(-0.2041)).missed
    assert not refit.outlook(belief, 0, 1.0, math.exp(0.2041), noise=0.05).missed
    assert refit.outlook(belief, 0, 3.0, 3.0).predicted == 3.0


@pytest.mark.parametrize(("profiled", "measured"), [(1.0, 0.0), (0.0, 1.0), (1.0, NAN), (1.0, math.inf)])
def test_nothing_is_learned_from_what_cannot_be(profiled: float, measured: float) -> None:
    with pytest.raises(ValueError, match="nothing can be learned"):
        refit.learn(refit.first_belief(np.array([0.1])), 0, profiled, measured)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.5, 2.0)), min_size=1, max_size=12))
def test_one_by_one_is_as_all_at_once(seen: list[tuple[int, float]]) -> None:
    """The recursion is exact: it equals Bayes' rule on all measurements together, by the information matrix."""
    own = np.array([0.02, 0.05, 0.1])
    belief = refit.first_belief(own)
    for point, ratio in seen:
        belief = refit.learn(belief, point, 1.0, ratio)
    rows = np.zeros((len(seen), 4))
    for k, (point, _) in enumerate(seen):
        rows[k, [point, 3]] = 1.0
    information = np.diag(1 / np.append(own, refit.DRIFT) ** 2) + rows.T @ rows / refit.NOISE**2
    mean = np.linalg.solve(information, rows.T @ np.log([ratio for _, ratio in seen]) / refit.NOISE**2)
    np.testing.assert_allclose(belief.mean, mean, atol=1e-9)
    np.testing.assert_allclose(belief.covariance, np.linalg.inv(information), atol=1e-9)
    assert np.linalg.eigvalsh(belief.covariance).min() > -1e-12


def test_it_finds_a_board_that_has_become_slower_and_follows_it() -> None:
    """A board 8 % slower at every clock, measured with 2 % noise at one of them: all clocks are believed slower."""
    rng = np.random.default_rng(0)
    belief = refit.first_belief(np.full(3, 0.02))
    for _ in range(30):
        belief = refit.learn(refit.next_round(belief), 1, 1.0, 1.08 * math.exp(0.02 * rng.standard_normal()))
    assert belief.factor(1) == pytest.approx(1.08, abs=0.02)
    assert belief.factor(0) == pytest.approx(1.08, abs=2.5 * belief.deviation(0))
    assert belief.deviation(1) < 0.015 < belief.deviation(0) < 0.05
