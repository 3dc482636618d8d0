import math

import numpy as np
import pytest

from models import radio
from server.plan.search.inverses import LEAST_X, MOST_X, inside, log_h, on_band, on_power, spread

# at x = 1: h = 1, e**x - 1 = 1.718281828, e**x = 2.718281828
AT_ONE = [(on_band, 1.0), (inside, 1.0), (on_power, 1.718281828459045**2 / math.e), (spread, math.log(math.e - 1))]


@pytest.mark.parametrize(("inverse", "value"), AT_ONE)
def test_by_hand_at_one(inverse, value):
    assert inverse()(np.array([value]))[0] == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(
    ("inverse", "function"),
    [
        (on_band, radio.expm1_gap),
        (inside, lambda x: radio.expm1_gap(x) ** 2 / x),
        (on_power, lambda x: radio.expm1_gap(x) * np.expm1(x) ** 2 / (x**2 * np.exp(x))),
        (spread, lambda x: x / 2 + np.log(np.sinh(x / 2) / (x / 2))),
    ],
)
def test_there_and_back(inverse, function):
    x = np.geomspace(1e-4, 200.0, 5001)
    assert inverse()(function(x)) == pytest.approx(x, rel=1e-8)


def test_tiny_values_do_not_cancel():
    # (e**x - 1)/x = 1 + x/2 + ...: its logarithm is x/2, and h(x) is x**2/2
    x = np.array([1e-12, 1e-9, 1e-6])
    assert spread()(x / 2) == pytest.approx(x, rel=1e-6)
    assert on_band()(x**2 / 2) == pytest.approx(x, rel=1e-6)


def test_values_out_of_range_get_the_nearer_end():
    assert on_band()(np.array([0.0, np.inf])) == pytest.approx([LEAST_X, MOST_X])


def test_the_logarithm_of_h_where_its_value_is_no_float():
    assert log_h(np.array([800.0]))[0] == pytest.approx(800.0 + math.log(799.0))
