"""Discrete levels of transmit power: by hand, against every choice there is, and the gap of larger fleets."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from server.plan import branch as branch_module
from server.plan.build import build_fleet
from server.plan.convex import solve_convex
from server.plan.device_step import joules
from server.plan.diagnosis import NoPlanError
from server.plan.exact import solve_exact
from server.plan.fleet import Fleet
from server.plan.levels import Ways
from server.plan.problem import Radio
from server.plan.repair import kept
from server.plan.solve import relative_gap
from server.plan.upload_step import power_shares
from tests.plan.builders import device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))
RADIO = Radio("scheduled", gain_over_noise_hz_per_w=1e7, tx_power_max_w=0.3, amplifier_efficiency=0.5)


def leveled(fleet: Fleet, *levels_w: float) -> Fleet:
    """The fleet with the same levels on every scheduled radio."""
    links = fleet.links
    rows = np.where(links.scheduled[:, None], np.array(levels_w), np.nan)
    power_w = np.where(links.scheduled, levels_w[-1], links.power_w)
    return replace(fleet, links=replace(links, levels_w=rows, power_w=power_w))


def tight_fleet(seed: int, count: int, kind: str, cpus: str) -> Fleet:
    return build_fleet(replace(random_problem(seed, count, kind, cpus, 0.5), round_s=45.0))


def gap(fleet, solved) -> float:
    return relative_gap(float(joules(fleet, solved.points).sum()), solved.dual.bound_j)


def powers_w(fleet, solved):
    return power_shares(fleet, solved.points.upload_s, solved.points.bandwidth_hz) * fleet.links.power_w


def test_the_only_level_that_is_quick_enough():
    # 2 s for 2e6 bits over 1 MHz: 0.1 W would do, 0.05 W do not; at 0.3 W 2 bits per second and hertz: 1 s at 0.6 W
    asked = problem(device(cpu=SINGLE, radio=RADIO, bits=2e6), round_s=11.9, bandwidth_hz=1e6)
    fleet = leveled(build_fleet(asked), 0.05, 0.3)
    solved = solve_exact(fleet)
    assert powers_w(fleet, solved) == pytest.approx([0.3])
    assert float(joules(fleet, solved.points).sum()) == pytest.approx(10.6)
    assert solved.dual.bound_j == pytest.approx(10.6)


def test_with_time_the_lower_level_is_cheaper():
    # 0.1 W for 2 s, 0.2 W drawn, against 0.3 W for 1 s, 0.6 W drawn; an overhead of 0.3 W turns it: 1.0 J and 0.9 J
    for overhead_w, expected_j, level_w in ((0.0, 0.4, 0.1), (0.3, 0.9, 0.3)):
        radio = replace(RADIO, overhead_w=overhead_w)
        asked = problem(device(cpu=SINGLE, radio=radio, bits=2e6), round_s=100.0, bandwidth_hz=1e6)
        fleet = leveled(build_fleet(asked), 0.1, 0.3)
        solved = solve_exact(fleet)
        assert powers_w(fleet, solved) == pytest.approx([level_w])
        assert float(joules(fleet, solved.points).sum()) == pytest.approx(10.0 + expected_j)
        assert gap(fleet, solved) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_choice_of_levels_is_cheaper(seed):
    fleet = leveled(tight_fleet(seed, 3, "scheduled", "mixed"), 0.02, 0.08, 0.2)
    solved = solve_exact(fleet)
    energy_j = float(joules(fleet, solved.points).sum())
    ways, all_j = Ways(fleet), []
    for choice in product(range(3), repeat=3):
        fixed = ways.fixed(np.array(choice))
        try:
            all_j.append(float(joules(fixed, solve_convex(fixed).points).sum()))
        except NoPlanError:
            continue
    assert energy_j == pytest.approx(min(all_j), rel=1e-9)
    assert -1e-9 <= gap(fleet, solved) <= 1e-6


def test_the_gap_of_a_hundred_devices():
    fleet = leveled(tight_fleet(3, 100, "mixed", "mixed"), 0.02, 0.05, 0.1, 0.2)
    solved = solve_exact(fleet)
    assert -1e-9 <= gap(fleet, solved) <= 1e-3
    assert kept(fleet, solved.points)
    shares = power_shares(fleet, solved.points.upload_s, solved.points.bandwidth_hz)
    assert np.abs(shares[:, None] / np.array([0.1, 0.25, 0.5, 1.0]) - 1).min(axis=1).max() < 1e-9


def test_larger_fleets_are_not_branched_and_hardly_need_it(monkeypatch):
    monkeypatch.setattr(branch_module, "_BRANCHED", 0)
    fleet = leveled(tight_fleet(3, 100, "scheduled", "curves"), 0.02, 0.05, 0.2)
    assert -1e-9 <= gap(fleet, solve_exact(fleet)) <= 5e-3


def test_every_set_of_levels_has_its_bound():
    fleet = leveled(tight_fleet(1, 3, "scheduled", "mixed"), 0.02, 0.2)
    ways = Ways(fleet)
    asked = ways.ask(np.array([2e4, 1e-6]))
    whole, slope = ways.bound(asked, ways.real)
    assert len(slope) == 2
    for choice in product(range(2), repeat=3):
        allowed = np.zeros((3, 2), dtype=bool)
        allowed[np.arange(3), choice] = True
        assert whole <= ways.bound(asked, allowed)[0]
        try:
            fixed = ways.fixed(np.array(choice))
            assert ways.bound(asked, allowed)[0] <= joules(fixed, solve_convex(fixed).points).sum()
        except NoPlanError:
            continue


def test_no_plan_at_the_highest_level_is_no_plan():
    asked = problem(device("weak", cpu=SINGLE, radio=RADIO, bits=2e6), round_s=10.5, bandwidth_hz=1e6)
    with pytest.raises(NoPlanError, match="too short for weak"):
        solve_exact(leveled(build_fleet(asked), 0.05, 0.3))
