import numpy as np
import pytest

from server.plan.search.multiplier import NEAR, log_prices_where


def where(function, guess=(0.0,)):
    """The answers for one function of the log price, from guesses."""
    return log_prices_where(lambda at, _rows: np.array([function(x) for x in at]), np.array(guess))[1]


def test_straight_lines_each_with_its_own_root():
    roots, slopes = np.array([3.0, -7.0, 0.5]), np.array([1.0, 0.2, 5.0])
    short, found = log_prices_where(lambda at, rows: slopes[rows] * (roots[rows] - at), np.zeros(3))
    assert short.tolist() == found.tolist()
    assert found == pytest.approx(roots, abs=1e-8)


@pytest.mark.parametrize("guess", [-30.0, 0.0, 40.0])
def test_ends_on_the_side_that_keeps_the_constraint(guess):
    function = lambda x: 2.0 - x - 0.3 * np.tanh(5 * (x - 1.0))  # noqa: E731
    found = where(function, (guess,))[0]
    assert -NEAR <= function(found) <= 0


def test_a_kink_and_a_flat_part():
    kinked = lambda x: 1.0 - x if x < 0.5 else (0.5 if x < 4 else 0.5 - 9 * (x - 4))  # noqa: E731
    assert -NEAR <= kinked(where(kinked)[0]) <= 0


def test_infinite_excess_is_left_behind():
    steep = lambda x: np.inf if x < 2 else 5.0 - x  # noqa: E731
    assert where(steep, (-20.0,))[0] == pytest.approx(5.0)


def test_a_price_that_does_not_matter_ends_low_and_one_that_never_suffices_high():
    assert where(lambda _: -1.0)[0] < -80
    assert where(lambda _: 1.0)[0] > 80
    assert where(lambda _: -np.inf)[0] < -80


def test_only_open_rows_are_asked():
    asked = []

    def excess(at, rows):
        asked.append(len(rows))
        return np.where(rows == 0, -NEAR / 2, 3.0 - at)

    log_prices_where(excess, np.zeros(2))
    assert asked[0] == 2
    assert set(asked[1:]) == {1}


def test_both_sides_of_a_jump():
    jump = lambda at, _rows: np.where(at < 2.5, 1.0, -1.0)  # noqa: E731
    short, enough = log_prices_where(jump, np.array([0.0, 40.0]))
    assert (short < 2.5).all()
    assert (enough >= 2.5).all()
    assert enough == pytest.approx(short, abs=1e-10)
