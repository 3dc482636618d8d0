import math

import numpy as np
import pytest

from server.plan.build import build_fleet
from server.plan.problem import Radio
from server.plan.search.band_step import BandStep
from tests.plan.builders import device, problem


def scheduled(power_w=10.0, overhead_w=0.0, gain=1.0):
    return Radio("scheduled", gain_over_noise_hz_per_w=gain, tx_power_max_w=power_w, overhead_w=overhead_w)


def shared(overhead_w, power_w=None):
    return Radio("shared_link", link_bits_per_s=100.0, overhead_w=overhead_w, tx_power_w=power_w)


def step(*radios, bits=1.0, **fields):
    devices = [device(f"d{i}", bits=bits, radio=radio) for i, radio in enumerate(radios)]
    return BandStep(build_fleet(problem(*devices, **fields)))


def solve(of, *seconds):
    return of.solve(np.array([seconds], dtype=float))


def test_two_equal_radios_share_the_band():
    """1 bit in 1 s on 1 Hz at unit noise over gain takes 2**1 - 1 = 1 W."""
    answer = solve(step(scheduled(), scheduled(), bandwidth_hz=2.0), 1, 1)
    assert answer.use[0] == pytest.approx([1.0, 1.0])
    assert answer.joules[0] == pytest.approx([1.0, 1.0])
    # mu is what a hertz more would save: c*s*h(ln 2) = 2*ln 2 - 1
    assert answer.price_medium_j[0] == pytest.approx(2 * math.log(2) - 1)


def test_full_power_claims_its_band():
    """At 1 W and 1 s a bit needs 1 Hz, whatever it costs the other."""
    of = step(scheduled(power_w=1.0), scheduled(power_w=1.0), bandwidth_hz=3.0)
    assert of.least_use(np.array([[1.0, 1.0]]))[0] == pytest.approx([1.0, 1.0])
    answer = solve(step(scheduled(power_w=1.0), scheduled(gain=1e-3, power_w=1e6), bandwidth_hz=3.0), 1, 1)
    assert answer.use[0] == pytest.approx([1.0, 2.0])


def test_too_little_band_is_told():
    answer = solve(step(scheduled(power_w=1.0), scheduled(power_w=1.0), bandwidth_hz=1.5), 1, 1)
    assert not answer.reached[0]
    assert answer.use[0] == pytest.approx([1.0, 1.0])


def test_an_upload_that_costs_by_the_second_ends_early():
    """Alone on 1 Hz with 2 W of overhead: h(x) = W = 2 gives x, and s = ln(2)/x, shorter than the 100 s allowed."""
    x = 1.2784645  # (x - 1)*e**x + 1 = 2
    answer = solve(step(scheduled(overhead_w=2.0), bandwidth_hz=1.0), 100)
    assert answer.upload_s[0] == pytest.approx([math.log(2) / x], rel=1e-6)
    assert answer.joules[0] == pytest.approx([(math.exp(x) - 1 + 2.0) * math.log(2) / x], rel=1e-6)


def test_a_fixed_power_ends_as_soon_as_its_band_allows():
    """1 W on 1 Hz carries a bit in 1 s, on half a hertz in 1/(0.5*log2(3)) s."""
    radio = Radio("fixed_power", gain_over_noise_hz_per_w=1.0, tx_power_w=1.0)
    half = 1 / (0.5 * math.log2(3))
    answer = solve(step(radio, radio, bandwidth_hz=1.0), 50, 50)
    assert answer.upload_s[0] == pytest.approx([half, half])
    assert answer.joules[0] == pytest.approx([half, half])


def test_a_shared_link_by_hand():
    """1 s alone each, 1 W and 4 W: s = sqrt(mu/W) and sum 1/s = 1 give mu = 9, 3 s and 1.5 s."""
    of = step(shared(1.0), shared(4.0), bits=100.0)
    answer = solve(of, 50, 50)
    assert answer.upload_s[0] == pytest.approx([3.0, 1.5])
    assert answer.joules[0] == pytest.approx([3.0, 6.0])
    assert answer.price_medium_j[0] == pytest.approx(9.0)
    # with 2 s at most for the first, half of the link is left for the other
    assert solve(of, 2, 50).upload_s[0] == pytest.approx([2.0, 2.0])


def test_a_sender_on_a_shared_link_draws_in_its_turns_only():
    answer = solve(step(shared(0.0, power_w=3.0), bits=100.0), 50)
    assert answer.joules[0] == pytest.approx([3.0])


def test_a_wire_takes_nothing_from_anybody():
    wire = Radio("wired", link_bits_per_s=100.0, overhead_w=0.5)
    of = step(wire, scheduled(), bandwidth_hz=1.0)
    assert of.fastest_s()[0] == pytest.approx(0.01)
    answer = solve(of, 0.01, 1)
    assert answer.use[0] == pytest.approx([0.0, 1.0])
    assert answer.joules[0] == pytest.approx([0.005, 1.0])


def test_the_fastest_upload_has_all_of_the_band_and_full_power():
    assert step(scheduled(power_w=3.0), bandwidth_hz=1.0).fastest_s() == pytest.approx([0.5])  # log2(1 + 3) = 2 bit/s


@pytest.mark.parametrize("seconds", [(1.0, 1.0), (0.6, 2.0)])
def test_more_time_is_worth_what_the_slope_says(seconds):
    of = step(scheduled(), scheduled(overhead_w=0.1), bandwidth_hz=2.0)
    at = np.array([seconds])
    slope = of.slopes(of.solve(at), at)[0]
    for k in range(2):
        later, sooner = at.copy(), at.copy()
        later[0, k] *= 1 + 1e-4
        sooner[0, k] *= 1 - 1e-4
        rise = of.solve(later).joules.sum() - of.solve(sooner).joules.sum()
        assert slope[k] == pytest.approx(rise / (2e-4 * at[0, k]), rel=1e-3)
