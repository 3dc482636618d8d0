"""The closed forms of the upload against a search over a dense grid of all that a radio may do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import radio
from server.plan.blocks import split
from server.plan.build import build_fleet
from server.plan.cubic import LEAST_X, MOST_X
from server.plan.problem import Radio
from server.plan.upload_laws import inside, log_h, log_spread, on_band, on_power, spread
from server.plan.upload_step import least_medium_use, least_upload_s, power_shares
from tests.plan.builders import device, problem

BITS, BAND_HZ = 2e6, 1e6


def fleet_of(link: Radio):
    return build_fleet(problem(device(radio=link, bits=BITS), round_s=100.0, bandwidth_hz=BAND_HZ))


def sent(link: Radio, price_w: float, price_medium_j: float):
    side = split(fleet_of(link))[0].upload
    with np.errstate(all="ignore"):
        return side.at(np.array([price_w]), price_medium_j)


def step(link: Radio, price_w: float, price_medium_j: float):
    found = sent(link, price_w, price_medium_j)
    return float(found.seconds[0]), float(found.use[0]), float(found.priced_j[0])


def h(x):
    return (x - 1) * np.exp(x) + 1


# from 40 on the one in h is nothing beside the rest, and is left out; up to 200 no term of the laws overflows
X = np.array([0.1, 1.0, 3.0, 5.0, 20.0, 39.9, 40.0, 40.1, 60.0, 200.0])


def test_values_tiny_and_out_of_range():
    """h(x) is x**2/2 and ln((e**x - 1)/x) is x/2 near 0; beyond a law's range lies its nearer end."""
    x = np.array([1e-12, 1e-9, 1e-6])
    assert log_spread.of(x / 2) == pytest.approx(x, rel=1e-6)
    assert on_band.of(x**2 / 2) == pytest.approx(x, rel=1e-6)
    assert on_band.of(np.array([0.0, np.inf])) == pytest.approx([LEAST_X, MOST_X], rel=1e-4)
    table = np.array([[h(1.0), h(2.0)], [h(3.0), h(4.0)]])
    assert on_band.of(table) == pytest.approx(np.array([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize(
    ("inverse", "law"),
    [
        (inside, lambda x: h(x) ** 2 / x),
        (on_band, h),
        (on_power, lambda x: h(x) * np.expm1(x) ** 2 / (x**2 * np.exp(x))),
    ],
)
def test_inverses(inverse, law):
    log_x, slope = inverse(np.log(law(X)))
    assert log_x == pytest.approx(np.log(X), abs=1e-10)
    assert inverse.exactly(np.log(law(X))) == pytest.approx(X, rel=1e-12)
    steep = (np.log(law(X * 1.00001)) - np.log(law(X / 1.00001))) / 2e-5
    assert slope == pytest.approx(1 / steep, rel=1e-5)


def test_the_logarithm_of_h_by_hand():
    # h(1) = 1, h(2) = e**2 + 1; beyond 40 log h = x + log(x - 1)
    found = log_h(np.array([1.0, 2.0, 39.0, 40.0, 41.0, 600.0]))
    ends = [39.0 + math.log(38.0), 40.0 + math.log(39.0), 41.0 + math.log(40.0), 600.0 + math.log(599.0)]
    assert found == pytest.approx([0.0, math.log(math.e**2 + 1.0), *ends], rel=1e-14)


def test_the_spread_of_an_upload_is_exact():
    x = np.array([1e-9, 1e-3, 0.0199, 0.0201, 1.0, 20.0, 500.0])
    assert spread(np.expm1(x) / x)[1:] == pytest.approx(x[1:], rel=1e-10)
    assert spread(np.expm1(x) / x)[0] == pytest.approx(1e-9, rel=1e-3)  # all that 1 + 5e-10 can tell


def test_inverses_stay_within_their_range():
    log_x, _ = inside(np.array([-np.inf, np.inf]))
    assert np.exp(log_x) == pytest.approx([1e-30, 600.0], rel=0.1)


KINDS_AT_WORK = {
    "inside": (Radio("scheduled", 1e8, 1.0, amplifier_efficiency=0.4, overhead_w=0.3), 0.2, 1e-6),
    "on the band": (Radio("scheduled", 1e8, 1.0, amplifier_efficiency=0.4, overhead_w=0.3), 0.2, 1e-9),
    "at full power": (Radio("scheduled", 1e7, 0.05, amplifier_efficiency=0.4, overhead_w=0.3), 9.0, 1e-6),
    "at a fixed power": (Radio("fixed_power", 1e7, tx_power_w=0.1, overhead_w=0.3), 0.2, 1e-6),
    "of a link": (Radio("shared_link", link_bits_per_s=2e6, tx_power_w=0.4, overhead_w=0.3), 0.2, 4.5),
}


@pytest.mark.parametrize("name", KINDS_AT_WORK)
def test_slopes_are_those_of_the_answers(name):
    link, price_w, medium_j = KINDS_AT_WORK[name]
    tiny = 1e-5
    found = sent(link, price_w, medium_j)
    dearer, further = sent(link, price_w + tiny, medium_j), sent(link, price_w, medium_j * math.exp(tiny))
    for slope, other, what in (
        (found.seconds_by_price, dearer, "seconds"),
        (found.use_by_price, dearer, "use"),
        (found.seconds_by_medium, further, "seconds"),
        (found.use_by_medium, further, "use"),
    ):
        change = getattr(other, what)[0] - getattr(found, what)[0]
        assert change == pytest.approx(tiny * slope[0], rel=1e-3, abs=1e-9 * getattr(found, what)[0])
    # and the priced joules rise with the seconds and the use
    assert dearer.priced_j[0] - found.priced_j[0] == pytest.approx(tiny * found.seconds[0], rel=1e-4)
    assert further.priced_j[0] - found.priced_j[0] == pytest.approx(tiny * medium_j * found.use[0], rel=1e-4)


def test_the_corner_of_full_power_and_the_whole_band_is_reached_without_a_jump():
    link = Radio("scheduled", 1e7, 1.0, amplifier_efficiency=0.4, overhead_w=0.3)
    corner_s = float(least_upload_s(fleet_of(link))[0])
    prices = np.geomspace(0.01, 100, 4001)
    seconds = np.array([step(link, price, 1e-9)[0] for price in prices])
    assert seconds[0] > corner_s
    assert seconds[-1] == pytest.approx(corner_s, rel=1e-15)
    assert (np.diff(seconds) <= 1e-11 * corner_s).all()
    assert np.abs(np.diff(seconds)).max() < 5e-3 * corner_s


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    log_gain=st.floats(5, 11),
    limit_w=st.floats(0.01, 1.0),
    overhead_w=st.sampled_from([0.0, 0.3]),
    log_price=st.one_of(st.just(-math.inf), st.floats(-6, 3)),
    log_medium=st.one_of(st.just(-math.inf), st.floats(-12, 0)),
)
def test_no_point_of_a_grid_is_cheaper_when_scheduled(log_gain, limit_w, overhead_w, log_price, log_medium):
    link = Radio("scheduled", 10**log_gain, limit_w, amplifier_efficiency=0.4, overhead_w=overhead_w)
    price_w, medium_j = 10**log_price, 10**log_medium
    found_s, found_hz, found_j = step(link, price_w, medium_j)
    band, x = np.meshgrid(np.geomspace(1e-6, 1, 300) * BAND_HZ, np.geomspace(1e-6, 60, 400))
    seconds = BITS * math.log(2) / (band * x)
    power = radio.tx_power_w(BITS, band, seconds, 10**-log_gain)
    cost = (power / 0.4 + overhead_w + price_w) * seconds + medium_j * band
    best = cost[power <= limit_w].min()
    assert found_j <= best * (1 + 1e-12)
    if overhead_w + price_w > 0:  # and what is found costs what it says and keeps the limits
        assert found_hz <= BAND_HZ
        watts = radio.tx_power_w(BITS, found_hz, found_s, 10**-log_gain)
        assert watts <= limit_w * (1 + 1e-9)
        assert found_j == pytest.approx((watts / 0.4 + overhead_w + price_w) * found_s + medium_j * found_hz, rel=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    log_gain=st.floats(5, 11), price_w=st.floats(0, 100), log_medium=st.one_of(st.just(-math.inf), st.floats(-12, 0))
)
def test_no_band_is_cheaper_at_a_fixed_power(log_gain, price_w, log_medium):
    link = Radio("fixed_power", 10**log_gain, tx_power_w=0.1, amplifier_efficiency=0.4, overhead_w=0.3)
    found_s, found_hz, found_j = step(link, price_w, 10**log_medium)
    band = np.geomspace(1e-6, 1, 4000) * BAND_HZ
    seconds = radio.seconds_at_power(BITS, band, 0.1, 10**-log_gain)
    assert found_j <= ((0.25 + 0.3 + price_w) * seconds + 10**log_medium * band).min() * (1 + 1e-12)
    assert found_s == pytest.approx(radio.seconds_at_power(BITS, found_hz, 0.1, 10**-log_gain), rel=1e-12)
    assert found_j == pytest.approx((0.55 + price_w) * found_s + 10**log_medium * found_hz, rel=1e-12)


def test_a_shared_link_by_hand():
    link = Radio("shared_link", link_bits_per_s=2e6, tx_power_w=0.4, amplifier_efficiency=0.8, overhead_w=0.3)
    # s = sqrt(mu * 1 s / W) = sqrt(4.5 / 0.5) = 3; 0.5 J of sending, 1.5 J of waiting, 1.5 J for a third of the link
    assert step(link, 0.2, 4.5) == pytest.approx((3.0, 1 / 3, 3.5))
    # free: all of the link
    assert step(link, 0.2, 0.0) == pytest.approx((1.0, 1.0, 1.0))
    # nothing to pay for seconds: longer than any round
    idle = Radio("shared_link", link_bits_per_s=2e6)
    assert step(idle, 0.0, 1.0) == pytest.approx((200.0, 1 / 200, 1 / 200))


def test_a_wire_by_hand():
    link = Radio("wired", link_bits_per_s=1e6, overhead_w=0.3)
    assert step(link, 0.2, 7.0) == pytest.approx((2.0, 0.0, 1.0))


def test_shares_of_the_largest_power():
    fleet = fleet_of(Radio("scheduled", 1e7, 0.4))
    assert power_shares(fleet, np.array([2.0]), np.array([1e6])) == pytest.approx([0.25])
    assert power_shares(fleet, np.array([1e-9]), np.array([1e-3])) == [math.inf]


def test_the_fastest_upload():
    # 1 bit per second and hertz at 0.1 W over 1 MHz; a line of 1 Mbit/s
    assert least_upload_s(fleet_of(Radio("scheduled", 1e7, 0.1)))[0] == pytest.approx(2.0)
    assert least_upload_s(fleet_of(Radio("wired", link_bits_per_s=1e6)))[0] == pytest.approx(2.0)


def test_the_least_band():
    fleet = fleet_of(Radio("scheduled", 1e7, 0.1))
    assert least_medium_use(fleet, np.array([2.0]))[0] == pytest.approx(1e6)
    # even an endless band carries no more than p/(c ln 2) bits a second: S c ln2 / p = 1.386 s
    assert least_medium_use(fleet, np.array([1.386]))[0] == math.inf
    assert math.isfinite(least_medium_use(fleet, np.array([1.3864]))[0])
    # at 0.3 W and 2 s: 2 s * 0.3 / (1e-7 * 2e6 ln 2) = (e**x - 1)/x with x from bisection
    third = least_medium_use(fleet_of(Radio("scheduled", 1e7, 0.3)), np.array([2.0]))[0]
    assert radio.seconds_at_power(BITS, third, 0.3, 1e-7) == pytest.approx(2.0)
