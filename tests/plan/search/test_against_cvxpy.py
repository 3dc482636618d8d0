"""Each sub-problem on a hundred random samples, and the whole of P1 on random fleets, against a conic solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.errors import ConfigError, MissingExtraError
from server.plan.build import build_fleet
from server.plan.device_step import joules, total_use
from server.plan.diagnosis import NoPlanError
from server.plan.problem import LearningCurve
from server.plan.search import conic
from server.plan.search.band_step import BandStep
from server.plan.search.conic import MOST_DEVICES, least_compute_j, least_upload_j, solve_cvxpy
from server.plan.search.data_step import DataStep
from server.plan.search.judge import Judge
from server.plan.solve import solve
from tests.plan.builders import KINDS, device, problem, random_problem

SAMPLES = 5  # splits a fleet


def random_splits(seed: int, kind: str, accuracy_model: str = "device_mean"):
    """A random fleet, five deadlines for its uploads (5, I) that can be kept."""
    rng = np.random.default_rng(seed)
    cpus, basis = ("tables", "curves", "mixed")[seed % 3], ("added", "board")[seed % 2]
    asked = random_problem(seed, 5, kind, cpus, (0.3, 0.5, 0.8)[seed // 3 % 3], basis, 1 + seed % 2)
    fleet = build_fleet(replace(asked, accuracy_model=accuracy_model))
    judge = Judge(fleet)
    near = judge.start + rng.uniform(0.02, 0.4) * rng.standard_normal((SAMPLES, judge.dimensions))
    inside = 0.95 * judge(near).splits + 0.05 * judge.start  # at the very edge the conic solver finds nothing
    return fleet, judge.splits.upload_s(inside)


@pytest.mark.parametrize("accuracy_model", ["device_mean", "pooled"])
@pytest.mark.parametrize("seed", range(20))
def test_the_data_sub_problem(seed, accuracy_model):
    fleet, upload_s = random_splits(seed, "scheduled", accuracy_model)
    compute_s = fleet.round_s - upload_s
    answer = DataStep(fleet).solve(compute_s)
    assert answer.reached.all()
    for row, seconds in zip(answer.joules, compute_s, strict=True):
        assert row.sum() == pytest.approx(least_compute_j(fleet, seconds), rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_bandwidth_sub_problem(seed):
    fleet, upload_s = random_splits(seed, ("scheduled", "fixed_power", "shared_link", "mixed")[seed % 4])
    answer = BandStep(fleet).solve(upload_s)
    assert answer.reached.all()
    for row, seconds in zip(answer.joules, upload_s, strict=True):
        assert row.sum() == pytest.approx(least_upload_j(fleet, seconds), rel=1e-6)


@pytest.mark.parametrize("accuracy_model", ["device_mean", "pooled"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("count", "cpus", "accuracy", "basis", "epochs"),
    [(1, "curves", 0.4, "added", 1), (4, "tables", 0.7, "board", 3), (12, "mixed", 0.9, "added", 1),
     (6, "mixed", None, "board", 2)],
)  # fmt: skip
def test_the_whole_problem(kind, count, cpus, accuracy, basis, epochs, accuracy_model):
    asked = random_problem(11 * count, count, kind, cpus, accuracy, basis, epochs)
    asked = replace(asked, accuracy_model=accuracy_model)
    fleet, plan = build_fleet(asked), solve(asked)
    points = solve_cvxpy(fleet)
    assert joules(fleet, points).sum() == pytest.approx(plan.energy_j, rel=1e-5)
    assert joules(fleet, points).sum() >= plan.lower_bound_j * (1 - 1e-9)
    assert (points.compute_s + points.upload_s <= fleet.round_s * (1 + 1e-12)).all()
    assert total_use(fleet, points) <= fleet.capacity * (1 + 1e-12)
    assert fleet.target_error is None or fleet.mean_error(points.samples) <= fleet.target_error * (1 + 1e-12)


def test_odd_exponents_are_posed_exactly():
    """beta = 0.4837 is no fraction of small numbers; a rational approximation would be seen at 1e-6."""
    asked = random_problem(2, 4, "scheduled", "mixed", 0.5)
    curve = LearningCurve(2.0, 0.4837, 0.05)
    asked = problem(*asked.devices, target=0.28, learning_curve=curve, synthetic_value=0.6, round_s=asked.round_s,
                    bandwidth_hz=asked.bandwidth_hz)  # fmt: skip
    fleet = build_fleet(asked)
    assert joules(fleet, solve_cvxpy(fleet)).sum() == pytest.approx(solve(asked).energy_j, rel=1e-7)


def test_too_many_devices_are_refused():
    with pytest.raises(ConfigError, match="51 devices are too many for cvxpy, a check for up to 50"):
        solve_cvxpy(build_fleet(problem(*(device(f"d{i}") for i in range(MOST_DEVICES + 1)))))


def test_without_cvxpy_the_line_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(conic, "find_spec", lambda name: None if name == "clarabel" else object())
    with pytest.raises(MissingExtraError, match=r"'clarabel'; install it with: pip install 'fimi\[server\]'"):
        solve_cvxpy(build_fleet(problem(device())))


def test_where_there_is_no_plan_the_diagnosis_is_that_of_the_exact_planner():
    floor = problem(device(), target=0.5, learning_curve=LearningCurve(1.0, 1.0, 0.5))
    for wrong in (problem(device(), round_s=5.0), floor, problem(device("empty", local=(0, 0), storage=0))):
        with pytest.raises(NoPlanError) as exact:
            solve(wrong)
        with pytest.raises(NoPlanError) as found:
            solve_cvxpy(build_fleet(wrong))
        assert str(exact.value).startswith(str(found.value))  # which goes on with the nearest values
        assert found.value.constraint == exact.value.constraint


def test_a_solver_that_gives_up_is_no_traceback(monkeypatch):
    monkeypatch.setattr(conic, "_JOULES", ())
    with pytest.raises(ConfigError, match="cvxpy's solver found no answer .* though there is one; take 'exact'"):
        solve_cvxpy(build_fleet(problem(device())))
