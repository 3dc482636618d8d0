from dataclasses import replace

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.build import build_fleet
from server.plan.device_step import joules
from server.plan.search import METHODS, default_evaluations, refuse_for_search, search, solve_cvxpy
from server.plan.search.cross_entropy import Tuning
from server.plan.solve import solve
from tests.plan.builders import device, problem, random_problem


@pytest.mark.parametrize("kind", ["shared_link", "fixed_power", "scheduled", "mixed"])
@pytest.mark.parametrize("accuracy_model", ["device_mean", "pooled"])
@pytest.mark.parametrize(
    ("method", "evaluations", "gap"), [("ce", 3000, 1e-6), ("ga", 3000, 1e-5), ("gradient", 300, 1e-7)]
)
def test_finds_the_optimum_of_a_small_fleet_and_nothing_below_its_bound(kind, method, evaluations, gap, accuracy_model):
    asked = replace(random_problem(6, 4, kind, "mixed", 0.6), accuracy_model=accuracy_model)
    fleet, plan = build_fleet(asked), solve(asked)
    found = search(fleet, method, evaluations=evaluations, seed=1)
    assert plan.lower_bound_j * (1 - 1e-12) <= found.energy_j <= plan.energy_j * (1 + gap)
    assert joules(fleet, found.points).sum() == pytest.approx(found.energy_j, rel=1e-12)
    assert found.evaluations <= evaluations
    assert 0 <= found.infeasible_share < 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("evaluations", [1, 7, 60])
def test_spends_what_it_may_and_says_how_it_went(method, evaluations):
    fleet, told = build_fleet(random_problem(6, 5, "scheduled", "mixed", 0.6)), []
    found = search(fleet, method, evaluations=evaluations, seed=1, report=lambda *now: told.append(now))
    assert found.evaluations == evaluations
    assert [tuple(row) for row in found.history] == told
    assert found.history[-1, 0] == evaluations
    assert (np.diff(found.history[:, 1]) <= 0).all()
    assert found.history[-1, 1] == pytest.approx(found.energy_j, rel=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_says_what_is_found(method):
    fleet = build_fleet(random_problem(6, 5, "scheduled", "mixed", 0.6))
    first, same, other = (search(fleet, method, evaluations=200, seed=seed) for seed in (1, 1, 2))
    assert first.energy_j == same.energy_j
    assert first.points.upload_s.tolist() == same.points.upload_s.tolist()
    assert method == "gradient" or other.energy_j != first.energy_j


def test_the_gradient_method_stops_where_nothing_moves():
    fleet = build_fleet(random_problem(6, 5, "scheduled", "curves", 0.6))
    assert search(fleet, "gradient", evaluations=5000, seed=0).evaluations < 1000


@pytest.mark.parametrize("method", METHODS)
def test_where_nobody_has_a_choice_one_candidate_is_the_optimum(method):
    found = search(build_fleet(problem(device(), target=1 / 20)), method, evaluations=1000, seed=0)
    assert found.evaluations == 1
    assert found.energy_j == pytest.approx(40.5)


def test_the_default_is_smaller_for_large_fleets():
    assert [default_evaluations(count) for count in (1, 100, 400, 100_000)] == [40_000, 40_000, 10_000, 40]


def test_smoothing_by_hand():
    assert Tuning().smoothing(20, 10_000) == pytest.approx(0.3)
    assert Tuning().smoothing(80, 10_000) == pytest.approx(0.15)
    assert Tuning().smoothing(20, 320_000) == pytest.approx(0.15)
    assert Tuning().smoothing(1, 10_000) == pytest.approx(0.3)
    assert Tuning().smoothing(20, 40) == 0.9
    assert Tuning().smoothing(1000, 4000) == pytest.approx(16 / 100)

    assert Tuning(spread_smoothing=1.0).smoothing(20, 10_000) == 1.0


def test_an_interrupted_search_has_what_it_found():
    def interrupt(spent, _best_j):
        if spent >= 41:
            raise KeyboardInterrupt

    found = search(build_fleet(random_problem(6, 5, "scheduled")), "ce", evaluations=500, seed=1, report=interrupt)
    assert found.evaluations == 41
    assert np.isfinite(found.energy_j)


def test_wrong_wishes_are_refused():
    fleet = build_fleet(problem(device()))
    with pytest.raises(ConfigError, match="method: 'swarm' is no searcher; ce, ga, gradient are"):
        search(fleet, "swarm", evaluations=10, seed=0)
    with pytest.raises(ConfigError, match="method: 100001 devices are too many to search; 'exact' plans them"):
        refuse_for_search(100_001)
    with pytest.raises(ConfigError, match="evaluations: 0 is not a whole number above 0"):
        search(fleet, "ce", evaluations=0, seed=0)


@pytest.mark.parametrize("method", [*METHODS, "cvxpy"])
def test_discrete_levels_are_left_to_the_exact_planner(method):
    fleet = build_fleet(problem(device()))
    links = replace(fleet.links, levels_w=np.array([[0.1, 0.2]]))
    with pytest.raises(ConfigError, match="levels_w: discrete power levels are planned by the method 'exact' only"):
        if method == "cvxpy":
            solve_cvxpy(replace(fleet, links=links))
        else:
            search(replace(fleet, links=links), method, evaluations=10, seed=0)
