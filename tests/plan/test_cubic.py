from __future__ import annotations

import numpy as np
import pytest

from server.plan.cubic import STEP, Cubic, Inverse


def test_a_cubic_is_its_own_piece():
    at = 1.0 + STEP * np.arange(5)
    law = Cubic(1.0, at**3, 3 * at**2)
    inner = np.array([1.0, 1.01, 1.1, 1.0 + 4 * STEP])
    value, slope = law(inner)
    assert value == pytest.approx(inner**3, rel=1e-14)
    assert slope == pytest.approx(3 * inner**2, rel=1e-12)


def test_beyond_the_ends_lies_the_nearer_end():
    law = Cubic(0.0, np.array([2.0, 3.0]), np.array([0.0, 0.0]))
    value, _ = law(np.array([-np.inf, -1.0, 9.0, np.inf]))
    assert value == pytest.approx([2.0, 2.0, 3.0, 3.0])


def test_an_inverse_and_its_slope():
    # F = x**2 + x: ln F rises from slope 1 to slope 2
    inverse = Inverse(lambda x: np.log(x) + np.log1p(x), lambda x: 1 / x + 1 / (1 + x))
    x = np.geomspace(1e-6, 500, 777)
    log_x, slope = inverse(np.log(x) + np.log1p(x))
    assert log_x == pytest.approx(np.log(x), abs=1e-10)
    assert slope == pytest.approx((1 + x) / (1 + 2 * x), rel=1e-7)
    assert inverse.exactly(np.log(x) + np.log1p(x)) == pytest.approx(x, rel=1e-14)
