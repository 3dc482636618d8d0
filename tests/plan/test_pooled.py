"""Pooled accuracy: the curve is asked about all devices' data together, so samples go where they cost least."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from server.plan.build import build_fleet
from server.plan.check import violations
from server.plan.diagnosis import NoPlanError
from server.plan.problem import OppTable, Problem
from server.plan.solve import solve
from tests.plan.builders import KINDS, device, problem, random_problem, table

CHEAP = table((1e9, 1.0, 1.0))
DEAR = table((1e9, 1.0, 3.0))


def pooled(made: Problem) -> Problem:
    return replace(made, accuracy_model="pooled")


def test_all_goes_to_the_cheap_device_until_its_room_is_full() -> None:
    """Two devices of 10 local samples, err = 1/x: a pooled target of 1/40 asks for 80 effective samples in all."""
    two = pooled(
        problem(
            device("cheap", storage=45, cpu=CHEAP), device("dear", storage=100, cpu=DEAR), target=1 / 40, round_s=1e3
        )
    )
    plan = solve(two)
    assert [share.executed_samples for share in plan.devices] == [55, 25]  # 20 + 45 on the cheap one, 15 on the other
    assert [share.samples for share in plan.devices] == pytest.approx([55.0, 25.0])
    assert plan.energy_j == pytest.approx(55 * 1.0 + 25 * 3.0 + 2 * 0.5)
    # the dear one's 3 J buy 1/2 sample of the mean; err' = -1/40**2 there
    assert plan.price_error_j == pytest.approx(3.0 * 2 * 40**2)
    assert abs(plan.relative_gap) < 1e-9


def test_time_binds_like_room() -> None:
    """The cheap device can train 30 samples of a second each in a round of 31 s with an upload of one."""
    two = pooled(problem(device("cheap", cpu=CHEAP), device("dear", cpu=DEAR), target=1 / 25, round_s=31.0))
    assert [share.executed_samples for share in solve(two).devices] == [30, 20]


def test_equal_devices_share_by_whole_samples() -> None:
    two = pooled(problem(device("a", cpu=CHEAP), device("b", cpu=CHEAP), target=1 / 15.25, round_s=1e3))
    plan = solve(two)
    assert sum(share.executed_samples for share in plan.devices) == 31  # 30.5 in all
    assert plan.energy_j == pytest.approx(30.5 + 1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cpus", ["tables", "curves", "mixed"])
def test_certified_and_feasible_on_random_fleets(kind: str, cpus: str) -> None:
    for seed in range(3):
        made = pooled(random_problem(seed, 1 + 3 * seed, kind, cpus, 0.3 + 0.1 * seed, ("added", "board")[seed % 2]))
        plan = solve(made)
        assert violations(made, plan) == []
        assert -1e-9 <= plan.relative_gap <= 1e-6


def test_it_is_never_dearer_than_the_mean_of_errors() -> None:
    """err is convex, so a plan that keeps the mean of errors keeps the error of the mean."""
    for seed in range(5):
        made = random_problem(seed, 4, KINDS[seed % len(KINDS)])
        assert solve(pooled(made)).energy_j <= solve(made).energy_j * (1 + 1e-9)


def test_it_is_a_linear_programme_where_uploads_are_wired() -> None:
    """Samples at each operating point as variables; an independent solver finds the same joules."""
    for seed in range(5):
        made = pooled(random_problem(seed, 6, "wired", "tables", 0.6, epochs=1 + seed % 2))
        fleet = build_fleet(made)
        cost, rows, limits = [], [], []
        n_points = [len(d.cpu.freq_hz) for d in made.devices]
        starts = np.concatenate([[0], np.cumsum(n_points)])
        for i, one in enumerate(made.devices):
            assert isinstance(one.cpu, OppTable)
            cost += list(made.local_epochs * (one.cpu.j_per_sample - one.cpu.power_idle_w * one.cpu.s_per_sample))
            own = np.zeros(starts[-1])
            own[starts[i] : starts[i + 1]] = 1.0
            seconds = np.zeros(starts[-1])
            seconds[starts[i] : starts[i + 1]] = made.local_epochs * one.cpu.s_per_sample
            upload_s = one.upload_bits / one.radio.link_bits_per_s
            rows += [own, -own, seconds]
            limits += [fleet.most[i], -fleet.local[i], made.round_s - upload_s]
        wanted = (fleet.wanted_worth * len(fleet) - (1 - fleet.eta) * fleet.local.sum()) / fleet.eta
        found = linprog(cost, A_ub=[*rows, -np.ones(starts[-1])], b_ub=[*limits, -wanted], bounds=(0, None))
        uploads = sum(d.radio.overhead_w * d.upload_bits / d.radio.link_bits_per_s for d in made.devices)
        assert solve(made).energy_j == pytest.approx(found.fun + uploads, rel=1e-7)


def test_what_cannot_be_reached_is_said() -> None:
    two = pooled(problem(device("a", storage=5), device("b", storage=5), target=1 / 40))
    with pytest.raises(NoPlanError, match=r"even with all storage filled.* the least target_error is 0\.066"):
        solve(two)
    with pytest.raises(NoPlanError, match="floor gamma"):
        solve(replace(two, learning_curve=replace(two.learning_curve, gamma=0.5)))
