"""Certified and feasible, by an independent check, on fleets of every kind; `tools.bench_planner random` has more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.build import build_fleet
from server.plan.check import violations
from server.plan.device_step import joules
from server.plan.diagnosis import NoPlanError
from server.plan.exact import solve_exact
from server.plan.repair import kept
from server.plan.solve import relative_gap, solve
from tests.plan.builders import KINDS, problem, random_problem

MODELS = ("device_mean", "pooled")


@pytest.mark.parametrize("seed", range(60))
def test_every_fleet_has_its_certificate(seed):
    rng = np.random.default_rng(seed)
    cpus = ("tables", "curves", "mixed")[seed % 3]
    accuracy = [None, 0.0, 0.3, 0.6, 0.9][int(rng.integers(5))]
    asked = random_problem(
        seed, int(np.exp(rng.uniform(0.0, 5.3))), KINDS[seed % len(KINDS)], cpus, accuracy,
        ("added", "board")[seed // 2 % 2], int(rng.integers(1, 4)),
    )  # fmt: skip
    asked = replace(asked, accuracy_model=MODELS[seed // 5 % 2])
    plan = solve(asked, batch_size=32)
    assert violations(asked, plan) == []
    assert -1e-9 <= plan.relative_gap <= 1e-6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tight_round(model, kind):
    """Just above the least round in which anything fits: nearly all bounds bind at once."""
    asked = replace(random_problem(21, 15, kind, "mixed", 0.0), accuracy_model=model, round_s=1.0)
    with pytest.raises(NoPlanError) as refused:
        solve(asked)
    while refused.value.constraint == "bandwidth_hz":
        asked = replace(asked, bandwidth_hz=2 * asked.bandwidth_hz)
        with pytest.raises(NoPlanError) as refused:
            solve(asked)
    asked = replace(asked, round_s=1.01 * refused.value.nearest, bandwidth_hz=asked.bandwidth_hz and 1e9)
    plan = solve(asked)
    assert violations(asked, plan) == []
    assert -1e-9 <= plan.relative_gap <= 1e-6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_identical_devices(model, kind):
    """All jump at the same price: the least that a search can tell them by."""
    one = random_problem(6, 1, kind, "tables", 0.5).devices[0]
    many = [replace(one, id=f"d{i}") for i in range(50)]
    local = one.local_samples
    asked = problem(*many, round_s=60.0, bandwidth_hz=5e7 if kind in ("scheduled", "fixed_power", "mixed") else None)
    asked = replace(asked, accuracy_model=model, target_error=1.0 / (local + 0.4 * one.storage_samples))
    if kind == "shared_link":
        asked = replace(asked, round_s=600.0)
    plan = solve(asked)
    assert violations(asked, plan) == []
    assert -1e-9 <= plan.relative_gap <= 1e-6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("field", ["round_s", "bandwidth_hz", "upload_bits", "storage_samples"])
@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e6])
def test_wildly_scaled_problems_are_solved_or_refused_by_name(model, field, factor):
    asked = replace(random_problem(2, 8, "mixed", "mixed", 0.3), accuracy_model=model)
    if field in ("round_s", "bandwidth_hz"):
        asked = replace(asked, **{field: factor * getattr(asked, field)})
    else:
        column = (factor * getattr(asked.devices, field)).astype(getattr(asked.devices, field).dtype)
        asked = replace(asked, devices=replace(asked.devices, **{field: column}))
    try:
        plan = solve(asked)
    except (NoPlanError, ConfigError) as refusal:
        assert any(name in str(refusal) for name in ("round_s", "bandwidth_hz", "target_error", field))
        return
    assert violations(asked, plan) == []
    assert -1e-9 <= plan.relative_gap <= 1e-6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_near_another_one_is_the_same_plan(model, kind):
    """Where a search starts changes no plan: from the answers or from the prices alone of a fleet like it."""
    asked = replace(random_problem(14, 30, kind, "mixed", 0.4), accuracy_model=model)
    bits = 1.02 * asked.devices.upload_bits
    later = replace(asked, devices=replace(asked.devices, upload_bits=bits))
    before, fleet = solve_exact(build_fleet(asked)), build_fleet(later)
    cold, warm = solve_exact(fleet), solve_exact(fleet, before.dual)
    assert kept(fleet, warm.points)
    energy_j, again_j = (float(joules(fleet, found.points).sum()) for found in (cold, warm))
    assert again_j == pytest.approx(energy_j, rel=1e-8)
    assert relative_gap(again_j, warm.dual.bound_j) <= 1e-7
    plan = solve(asked)
    for known in (plan, plan.record()):  # a record has no price of a second
        assert solve(later, warm=known).energy_j == pytest.approx(energy_j, rel=1e-8)


@pytest.mark.parametrize("kind", ["scheduled", "fixed_power", "shared_link", "wired"])
def test_the_price_of_a_second_is_what_a_longer_round_saves(kind):
    asked = random_problem(23, 30, kind, "mixed", 0.5)
    plan, longer = (solve(replace(asked, round_s=asked.round_s * factor)) for factor in (1.0, 1.0 + 1e-5))
    assert (plan.energy_j - longer.energy_j) / (1e-5 * asked.round_s) == pytest.approx(plan.price_s_w.sum(), rel=1e-2)
