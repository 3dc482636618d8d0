from __future__ import annotations

import numpy as np
import pytest

from server.errors import DataError
from server.synth.assess.distances import frechet, kernel_distance, squared_mmd


def test_frechet_by_hand() -> None:
    # 0, 2 has mean 1 and variance 2; 3, 7 has mean 5 and variance 8: 4^2 + 2 + 8 - 2 sqrt(2 * 8) = 18
    assert frechet(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])) == pytest.approx(18.0)
    # two uncorrelated features add up; the second pair is the same on both sides
    a = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    b = a * [2.0, 1.0] + [5.0, 0.0]
    # first feature: means 1 and 7, variances 4/3 and 16/3: 36 + 4/3 + 16/3 - 2 sqrt(64/9) = 36 + 4/3
    assert frechet(a, b) == pytest.approx(36 + 4 / 3)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(DataError, match="two samples or more on each side, not 1 and 4"):
        frechet(a[:1], b)


def test_frechet_sees_correlation_that_means_and_variances_hide() -> None:
    one = np.array([[-1.0, -1.0], [1.0, 1.0]])
    other = np.array([[-1.0, 1.0], [1.0, -1.0]])
    # covariances [[2, 2], [2, 2]] and [[2, -2], [-2, 2]] have the product 0: 4 + 4 - 0
    assert frechet(one, other) == pytest.approx(8.0)


def test_the_kernel_distance_by_hand() -> None:
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    # k(0, 1) = 1; k(1, 2) = 27; across: k(0, 1) = 1, k(0, 2) = 1, k(1, 1) = 8, k(1, 2) = 27, mean 37/4
    assert squared_mmd(a, b) == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_the_kernel_distance_has_an_honest_error_and_no_bias() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=(1000, 4)) + shift for shift in (0.0, 0.0, 0.5))
    same, error = kernel_distance(a, b, subset=100)
    assert error is not None
    assert abs(same) < 3 * error
    apart, error = kernel_distance(a, c, subset=100)
    assert error is not None
    assert apart > 5 * error
    assert kernel_distance(a[:50], b[:70], subset=100)[1] is None
