"""Sums over devices, their slopes, and that neither blocks nor threads nor memory change an answer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from server.plan import blocks as blocks_module
from server.plan import threads
from server.plan.build import build_fleet
from server.plan.crowd import Crowd
from server.plan.device_step import device_step, total_use
from server.plan.subset import subset
from tests.plan.builders import KINDS, random_problem


def fleet_of(kind="scheduled", cpus="mixed", count=40):
    return build_fleet(replace(random_problem(6, count, kind, cpus, 0.5), round_s=45.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cpus", ["tables", "curves"])
def test_slopes_are_those_of_the_sums(kind, cpus):
    fleet = fleet_of(kind, cpus)
    crowd, tiny = Crowd(fleet), 1e-5
    medium_j = 300.0 if kind == "shared_link" else 1e-6
    here = crowd.at(2e4, medium_j, 1e-13)
    dearer = crowd.at(2e4 * math.exp(tiny), medium_j, 1e-13)
    further = crowd.at(2e4, medium_j * math.exp(tiny), 1e-13)
    assert dearer.error - here.error == pytest.approx(tiny * here.error_by_error, rel=1e-3, abs=1e-12 * here.error)
    assert dearer.use - here.use == pytest.approx(tiny * here.use_by_error, rel=1e-3, abs=1e-12 * here.use)
    assert further.error - here.error == pytest.approx(tiny * here.error_by_medium, rel=1e-3, abs=1e-12 * here.error)
    assert further.use - here.use == pytest.approx(tiny * here.use_by_medium, rel=1e-3, abs=1e-12 * here.use)


def test_sums_are_those_of_the_points():
    fleet = fleet_of("mixed")
    crowd = Crowd(fleet)
    totals = crowd.at(2e4, 1e-6, 1e-12)
    step = crowd.answers()
    assert totals.error == pytest.approx(fleet.error_at(fleet.worth(step.points.samples)).sum(), rel=1e-12)
    assert totals.use == pytest.approx(total_use(fleet, step.points), rel=1e-12)


def test_what_is_left_open_is_corrected():
    fleet = fleet_of()
    rough, fine = Crowd(fleet).at(2e4, 1e-6, 1e-4), Crowd(fleet).at(2e4, 1e-6, 1e-13)
    assert rough.error == pytest.approx(fine.error, rel=1e-7)
    assert rough.use == pytest.approx(fine.use, rel=1e-6)


def test_memory_of_other_prices_changes_no_answer():
    fleet = fleet_of("mixed")
    crowd = Crowd(fleet)
    for price_error_j, price_medium_j in ((1e3, 1e-6), (1.01e3, 1e-6), (5e4, 1e-5), (0.0, 1e-6), (1e3, 0.0)):
        crowd.at(price_error_j, price_medium_j, 1e-12)
        warm, cold = crowd.answers(), device_step(fleet, price_error_j, price_medium_j)
        assert warm.bound_j == pytest.approx(cold.bound_j, rel=1e-10)
        assert warm.points.samples == pytest.approx(cold.points.samples, rel=1e-8)


@pytest.mark.parametrize("processors", [1, 3])
def test_blocks_and_threads_change_no_answer(monkeypatch, processors):
    fleet = fleet_of("mixed")
    whole = device_step(fleet, 2e4, 1e-6)
    monkeypatch.setattr(blocks_module, "SIZE", 7)
    monkeypatch.setattr(threads, "_ALONE", 0)
    monkeypatch.setattr(threads, "_processors", lambda: processors)
    parts = device_step(fleet, 2e4, 1e-6)
    assert parts.bound_j == pytest.approx(whole.bound_j, rel=1e-12)
    assert parts.points.upload_s == pytest.approx(whole.points.upload_s, rel=1e-9)


def test_some_devices_answer_as_they_do_among_all():
    fleet = fleet_of("mixed")
    rows = np.array([1, 2, 5, 9, 30, 31])
    some = subset(fleet, rows, fleet.capacity)
    among, apart = device_step(fleet, 2e4, 1e-6), device_step(some, 2e4 * len(rows) / len(fleet), 1e-6)
    assert some.ids == tuple(fleet.ids[row] for row in rows)
    assert apart.bound_j == pytest.approx(among.bound_j[rows], rel=1e-12)
    assert apart.points.bandwidth_hz == pytest.approx(among.points.bandwidth_hz[rows], rel=1e-9)
