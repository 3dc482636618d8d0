"""Plans for slow boards and bad channels: what is made slower, and how many are then in time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import exp, log
from statistics import NormalDist

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.check import violations
from server.plan.devices import Spread
from server.plan.diagnosis import NoPlanError
from server.plan.problem import AnalyticCpu, Devices, Problem, Radio
from server.plan.random_fleet import random_fleet
from server.plan.robust import InTime, cautious, in_time, plan_for_share
from server.plan.solve import solve
from tests.plan.builders import device, problem, table

CELL = Radio("scheduled", gain_over_noise_hz_per_w=1e8, tx_power_max_w=1.0)


def with_spread(made: Problem, speed: float, gain: float) -> Problem:
    return replace(made, devices=Devices.of([replace(each, spread=Spread(speed, gain)) for each in made.devices]))


def test_everything_that_is_slower_by_hand():
    """One standard deviation: twice the seconds, a quarter of the gain."""
    law = AnalyticCpu(0.5, 1e9, 2.0, 1.0, 1e-27, 1e9, 2e9)
    cpus = (device("law", cpu=law, radio=CELL), device("table", cpu=table((1e9, 1.0, 3.0), (2e9, 0.5, 4.0))))
    stated = with_spread(problem(*cpus, bandwidth_hz=1e6), log(2.0), log(4.0))
    slow, other = cautious(stated, 1.0).devices
    assert (slow.cpu.fixed_s_per_sample, slow.cpu.cycles_per_sample) == pytest.approx((1.0, 2e9))
    assert (slow.cpu.power_static_w, slow.cpu.kappa_w_per_hz3, slow.cpu.freq_max_hz) == (2.0, 1e-27, 2e9)
    assert slow.radio.gain_over_noise_hz_per_w == pytest.approx(2.5e7)
    assert other.cpu.s_per_sample == pytest.approx([2.0, 1.0])
    assert other.cpu.j_per_sample == pytest.approx([6.0, 8.0])
    rate = stated.devices[1].radio.link_bits_per_s
    assert other.radio.link_bits_per_s == pytest.approx(rate / 4)
    assert slow.spread == Spread()


def test_a_single_clock_is_in_time_as_often_as_its_quantile_says():
    """Ten samples of 1 s and a quick upload in a round of 10 exp(0.1) s: one standard deviation fits, 84.1 %."""
    wired = Radio("wired", link_bits_per_s=1e9)
    alone = problem(device(cpu=table((1e9, 1.0, 1.0)), bits=1.0, radio=wired), round_s=10 * exp(0.1) + 2e-9)
    stated = with_spread(alone, 0.1, 0.0)
    found = in_time(stated, stated, solve(stated), draws=40_000)
    assert found.mean == pytest.approx(NormalDist().cdf(1.0), abs=2 * found.uncertainty)
    assert found.uncertainty == pytest.approx(2 * (0.841 * 0.159 / 40_000) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    "radio",
    [
        replace(CELL, tx_power_max_w=0.1),
        Radio("fixed_power", gain_over_noise_hz_per_w=1e8, tx_power_w=0.1),
        Radio("shared_link", link_bits_per_s=1e6),
        Radio("wired", link_bits_per_s=1e6),
    ],
)
def test_an_upload_planned_for_one_deviation_just_fits_at_it(radio):
    """Without a spread of speed the only chance is the channel's: planned for z = 1 and without slack, 84.1 %."""
    cell = 2e5 if radio.gain_over_noise_hz_per_w else None
    alone = problem(device(cpu=table((1e9, 1.0, 1.0)), bits=2e6, radio=radio), round_s=1e3, bandwidth_hz=cell)
    stated = with_spread(alone, 0.0, 0.3)
    slow = cautious(stated, 1.0)
    took = solve(slow).devices[0]
    tight = replace(slow, round_s=took.compute_s + took.upload_s)
    plan = solve(tight)
    found = in_time(replace(stated, round_s=tight.round_s * (1 + 1e-7)), tight, plan, draws=40_000)
    assert found.mean == pytest.approx(NormalDist().cdf(1.0), abs=2 * found.uncertainty)


@pytest.mark.parametrize("kind", ["mixed", "shared_link"])
def test_the_share_is_kept_and_costs_less_than_everybody_at_the_quantile(kind):
    stated = random_fleet(12, 1, kind, tables=True)
    stated = replace(stated, round_s=1.2 * stated.round_s)
    quick = partial(solve, batch_size=32)
    found = plan_for_share(stated, 0.9, quick)
    assert violations(found.planned, found.plan) == []
    assert 0.9 <= found.in_time.mean <= 0.93
    assert in_time(stated, stated, quick(stated)).mean < 0.7
    certain = quick(cautious(stated, NormalDist().inv_cdf(0.9**0.5)))
    assert quick(stated).energy_j < found.plan.energy_j < certain.energy_j


def test_a_share_that_no_plan_keeps_is_named():
    tight = with_spread(problem(device(cpu=table((1e9, 1.0, 1.0))), round_s=11.0), 0.5, 0.0)
    with pytest.raises(NoPlanError, match="round_s 11 is too short"):
        plan_for_share(tight, 0.9, solve)
    with pytest.raises(ConfigError, match=r"a share of 0\.4 is not in \[0\.5, 1\)"):
        plan_for_share(tight, 0.4, solve)
    with pytest.raises(ConfigError, match=r"spread\.speed: -0\.1 is not in \[0, 3\.0\]"):
        plan_for_share(with_spread(tight, -0.1, 0.0), 0.9, solve)


def test_the_uncertainty_of_a_share():
    """Two devices of 1/2 and 1 in 100 rounds: variance of their mean (1/4 + 0)/100/4."""
    assert InTime(100, np.array([0.5, 1.0])).uncertainty == pytest.approx(2 * (0.25 / 400) ** 0.5)
