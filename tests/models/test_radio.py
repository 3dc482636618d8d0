from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import radio


def test_one_bit_per_second_and_hertz_needs_the_power_of_the_noise():
    # 2e6 bits over 1 MHz in 2 s: 2**1 - 1 = 1 times c*b = 1e-7 * 1e6
    assert radio.nats_per_use(2e6, 1e6, 2.0) == pytest.approx(math.log(2))
    assert radio.tx_power_w(2e6, 1e6, 2.0, 1e-7) == pytest.approx(0.1)
    # two bits: 2**2 - 1 = 3
    assert radio.tx_power_w(4e6, 1e6, 2.0, 1e-7) == pytest.approx(0.3)


def test_scheduled_joules_by_hand():
    # (0.1 W / 0.5 + 0.3 W) * 2 s
    assert radio.scheduled_joules(2e6, 1e6, 2.0, 1e-7, 0.5, 0.3) == pytest.approx(1.0)


def test_seconds_at_power_inverts_power():
    assert radio.seconds_at_power(2e6, 1e6, 0.1, 1e-7) == pytest.approx(2.0)
    assert radio.seconds_at_power(4e6, 1e6, 0.3, 1e-7) == pytest.approx(2.0)


def test_shared_link_by_hand():
    # 1e6 bits at 2e6 bit/s hold half of a second; over 2 s that is a quarter of the link
    assert radio.link_share(1e6, 2.0, 2e6) == pytest.approx(0.25)
    # 0.4 W / 0.8 for the half second of sending, 0.3 W for two seconds
    assert radio.shared_joules(1e6, 2.0, 2e6, 0.4, 0.8, 0.3) == pytest.approx(0.85)


def test_wired_seconds():
    assert radio.wired_seconds(1e6, 2e6) == pytest.approx(0.5)


def test_expm1_gap_by_hand():
    # (1 - 1) e + 1 = 1; (2 - 1) e**2 + 1; the first terms of the series at 0.001
    found = radio.expm1_gap(np.array([0.0, 1.0, 2.0, 1e-3]))
    assert found.tolist() == pytest.approx([0.0, 1.0, math.e**2 + 1, 1e-6 / 2 + 1e-9 / 3 + 1e-12 / 8], rel=1e-14)


def test_expm1_gap_is_smooth_where_the_series_ends():
    # at 0.05 twenty terms of the series, exact to rounding
    exact = math.fsum((k - 1) / math.factorial(k) * 0.05**k for k in range(2, 21))
    left, right = radio.expm1_gap(np.array([np.nextafter(0.05, 0), 0.05]))
    assert left == pytest.approx(exact, rel=1e-13)
    assert right == pytest.approx(exact, rel=1e-13)


@given(st.floats(1e-9, 0.049))
def test_expm1_gap_keeps_its_digits_near_zero(x):
    exact = math.fsum((k - 1) / math.factorial(k) * x**k for k in range(2, 21))
    assert float(radio.expm1_gap(np.array([x]))[0]) == pytest.approx(exact, rel=1e-14)
