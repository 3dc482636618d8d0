"""Fleets from a seed: always the same, always with a plan, and in the range that the profiles say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.plan.build import build_fleet
from server.plan.feasible import most_accurate
from server.plan.plan_io import encode_problem
from server.plan.random_fleet import RADIO_CHOICES, random_fleet
from server.plan.solve import solve
from server.plan.validate import validate


@pytest.mark.parametrize("radio", RADIO_CHOICES)
@pytest.mark.parametrize("tables", [False, True])
def test_every_fleet_has_a_plan(radio, tables):
    for count, seed in ((1, 0), (2, 1), (7, 2), (60, 3)):
        asked = random_fleet(count, seed, radio, tables=tables)
        validate(asked)
        fleet = build_fleet(asked)
        assert fleet.mean_error(most_accurate(fleet).samples) < asked.target_error
        if radio != "levels":
            plan = solve(asked, batch_size=32)
            assert plan.relative_gap < 1e-6


def test_a_seed_is_a_fleet():
    assert encode_problem(random_fleet(5, 3, "mixed")) == encode_problem(random_fleet(5, 3, "mixed"))
    assert encode_problem(random_fleet(5, 3, "mixed")) != encode_problem(random_fleet(5, 4, "mixed"))


def test_what_the_profiles_say():
    devices = random_fleet(300, 0, tables=True).devices
    nano = np.array([name.startswith("jetson-nano") for name in devices.ids])
    assert 60 < nano.sum() < 140
    assert devices.power_idle_w[nano].mean() == pytest.approx(2.0, rel=0.02)
    tops = devices.opps.freq_hz[devices.opps.start[1:] - 1]
    assert set(tops.tolist()) == {1479e6, 1500e6, 2400e6}
    assert (np.diff(devices.opps.start) == 6).all()
    own = slice(devices.opps.start[0], devices.opps.start[1])
    assert (np.diff(devices.opps.s_per_sample[own]) < 0).all()


def test_the_law_lies_near_the_profile_it_was_fitted_to():
    """Twins of one seed, one with tables: whole-board joules a sample at the top clock are within a fifth."""
    laws, tables = random_fleet(200, 5).devices, random_fleet(200, 5, tables=True).devices
    law = laws.laws
    tau = law.fixed_s_per_sample + law.cycles_per_sample / law.freq_max_hz
    joules = tau * (law.power_static_w + law.kappa_w_per_hz3 * law.freq_max_hz**3)
    last = tables.opps.start[1:] - 1
    assert tau == pytest.approx(tables.opps.s_per_sample[last])
    assert joules == pytest.approx(tables.opps.j_per_sample[last], rel=0.2)  # watts of a profile go with V**2 * f


@pytest.mark.parametrize("field", ["round_s", "bandwidth_hz", "target_error"])
def test_there_is_room_but_not_for_ever(field):
    """With a tenth more nothing breaks; with a tenth of it nothing works."""
    asked = random_fleet(40, 1)
    solve(replace(asked, **{field: 1.1 * getattr(asked, field)}))
    with pytest.raises(Exception, match=r"round_s|bandwidth_hz|target_error"):
        solve(replace(asked, **{field: 0.1 * getattr(asked, field)}))


def test_classes_are_skewed_and_complete():
    devices = random_fleet(500, 2).devices
    shares = devices.local_counts / devices.local_samples[:, None]
    assert 0.4 < shares.max(axis=1).mean() < 0.7  # Dirichlet 0.4 over ten classes: about half are of one class
    assert devices.local_samples.min() >= 1
