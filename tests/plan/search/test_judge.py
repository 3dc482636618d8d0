from dataclasses import replace

import numpy as np
import pytest

from server.plan.build import build_fleet
from server.plan.device_step import joules, total_use
from server.plan.diagnosis import NoPlanError
from server.plan.problem import Radio
from server.plan.search.judge import Judge
from server.plan.solve import solve
from tests.plan.builders import device, problem, random_problem

CHOOSING = ("shared_link", "fixed_power", "scheduled", "mixed")


MODELS = pytest.mark.parametrize("accuracy_model", ["device_mean", "pooled"])


def problem_of(seed, count, kind, accuracy, accuracy_model="device_mean", basis="added", epochs=1):
    asked = random_problem(seed, count, kind, "mixed", accuracy, basis, epochs)
    return replace(asked, accuracy_model=accuracy_model)


def test_a_split_is_a_place_between_the_fastest_upload_and_what_training_leaves():
    """1 s alone on the link, 10 s for the local samples of a round of 110 s: from 1 s to 100 s, half-way 10 s."""
    link = Radio("shared_link", link_bits_per_s=100.0)
    splits = Judge(build_fleet(problem(device(radio=link), round_s=110.0))).splits
    assert splits.upload_s(np.array([[0.0], [0.5], [1.0], [7.0]]))[:, 0] == pytest.approx([1.0, 10.0, 100.0, 100.0])
    assert splits.of(np.array([10.0])) == pytest.approx([0.5])


def test_a_wire_leaves_no_choice():
    fleet = build_fleet(problem(device("a"), device("b"), target=1 / 20))
    judge = Judge(fleet)
    assert judge.dimensions == 0
    assert judge(judge.start[None, :]).joules[0] == pytest.approx(2 * 40 + 2 * 0.5)


@MODELS
@pytest.mark.parametrize("kind", CHOOSING)
def test_the_start_has_room_and_everything_else_is_moved_until_it_can_be_kept(kind, accuracy_model):
    judge = Judge(build_fleet(problem_of(5, 8, kind, 0.9, accuracy_model)))
    assert not judge(judge.start[None, :]).repaired[0]
    wild = judge(np.random.default_rng(0).uniform(-0.5, 1.5, (200, judge.dimensions)))
    assert wild.repaired.mean() > 0.5
    assert np.isfinite(wild.joules).all()
    assert judge.infeasible == wild.repaired.sum()
    assert judge.evaluations == 201
    again = judge(wild.splits)
    assert again.joules == pytest.approx(wild.joules, rel=1e-5)


@MODELS
@pytest.mark.parametrize("kind", CHOOSING)
@pytest.mark.parametrize("accuracy", [None, 0.7])
def test_points_cost_what_was_judged_and_keep_every_constraint(kind, accuracy, accuracy_model):
    asked = problem_of(3, 7, kind, accuracy, accuracy_model)
    fleet, bound_j = build_fleet(asked), solve(asked).lower_bound_j
    judge = Judge(fleet)
    for split in judge(judge.start + 0.2 * np.random.default_rng(1).standard_normal((10, judge.dimensions))).splits:
        points, energy_j = judge.points(split)
        assert joules(fleet, points).sum() == pytest.approx(energy_j, rel=1e-12)
        assert energy_j >= bound_j
        assert total_use(fleet, points) <= fleet.capacity * (1 + 1e-12)
        assert (points.compute_s + points.upload_s <= fleet.round_s * (1 + 1e-12)).all()
        assert (points.compute_s >= fleet.epochs * points.samples * fleet.tau_min_s * (1 - 1e-12)).all()
        assert ((points.samples >= fleet.local) & (points.samples <= fleet.most)).all()
        assert accuracy is None or fleet.mean_error(points.samples) <= fleet.target_error * (1 + 1e-12)


@MODELS
@pytest.mark.parametrize("kind", CHOOSING)
@pytest.mark.parametrize("seed", range(4))
def test_the_optimal_split_costs_the_optimum(kind, seed, accuracy_model):
    """With the optimum's upload times as deadlines both sub-problems give the optimum back."""
    basis, epochs = ("added", "board")[seed % 2], 1 + seed % 2
    asked = problem_of(seed, 9, kind, (0.3, 0.6, 0.9, None)[seed], accuracy_model, basis, epochs)
    judge, plan = Judge(build_fleet(asked)), solve(asked)
    upload_s = np.array([share.upload_s for share in plan.devices])
    assert judge(judge.splits.of(upload_s)[None, :]).joules[0] == pytest.approx(plan.energy_j, rel=1e-7)


@MODELS
@pytest.mark.parametrize("kind", CHOOSING)
@pytest.mark.parametrize("seed", range(3))
def test_slopes_are_those_of_the_joules(kind, seed, accuracy_model):
    """Between the differences to both sides, which at a kink are not the same."""
    judge = Judge(build_fleet(problem_of(seed, 4, kind, (0.4, None, 0.7)[seed], accuracy_model)))
    near = judge.start + 0.05 * np.random.default_rng(seed).standard_normal((1, judge.dimensions))
    split = 0.9 * judge(near).splits + 0.1 * judge.start
    if judge.fleet.target_error is None:
        split = 0.95 * split  # the start is the very end of the domain there
    slopes = judge(split, slopes=True).slopes[0]
    step = 1e-5
    around = np.concatenate([split, split - step * np.eye(judge.dimensions), split + step * np.eye(judge.dimensions)])
    joules_j = judge(around).joules
    below = (joules_j[0] - joules_j[1 : judge.dimensions + 1]) / step
    above = (joules_j[judge.dimensions + 1 :] - joules_j[0]) / step
    slack = 2e-3 * max(float(np.abs(slopes).max()), 1e-3 * joules_j[0])
    assert (slopes >= np.minimum(below, above) - slack).all()
    assert (slopes <= np.maximum(below, above) + slack).all()


def test_a_deadline_may_be_kept_early():
    """An upload that costs 5 W of overhead ends long before its deadline, and the board waits after its work."""
    link = Radio("shared_link", link_bits_per_s=100.0, overhead_w=5.0)
    judge = Judge(build_fleet(problem(device(radio=link), round_s=1000.0)))
    points, energy_j = judge.points(np.array([0.9]))
    assert points.upload_s == pytest.approx([1.0])
    assert points.compute_s == pytest.approx([20.0])
    assert energy_j == pytest.approx(20.0 + 5.0)


def test_where_no_split_can_be_kept_the_diagnosis_is_that_of_the_exact_planner():
    asked = problem_of(1, 4, "scheduled", 0.5)
    late, empty = device("slow", local=(10**6, 0)), device("empty", local=(0, 0), storage=0)
    for wrong in (
        replace(asked, bandwidth_hz=asked.bandwidth_hz * 1e-3),
        replace(asked, target_error=0.06),
        replace(asked, target_error=0.05),  # the learning curve's floor
        problem(late, device("other")),
        problem(empty, device("other")),
    ):
        with pytest.raises(NoPlanError) as exact:
            solve(wrong)
        with pytest.raises(NoPlanError) as found:
            Judge(build_fleet(wrong))
        assert str(exact.value).startswith(str(found.value))  # which goes on with the nearest values
        assert found.value.constraint == exact.value.constraint


def test_the_start_exists_just_where_a_plan_does():
    """Down to the least band that the diagnosis names, and not below it."""
    asked = problem_of(4, 5, "scheduled", 0.5)
    low, high = 1e-3 * asked.bandwidth_hz, asked.bandwidth_hz
    for _ in range(25):
        middle = (low * high) ** 0.5
        try:
            solve(replace(asked, bandwidth_hz=middle, target_error=None))
            high = middle
        except NoPlanError:
            low = middle
    edge = replace(asked, target_error=None)
    Judge(build_fleet(replace(edge, bandwidth_hz=high * 1.0001)))
    with pytest.raises(NoPlanError):
        Judge(build_fleet(replace(edge, bandwidth_hz=low * 0.9999)))


def test_a_device_without_local_samples_gets_time_for_some():
    empty = device("empty", local=(0, 0), radio=Radio("shared_link", link_bits_per_s=100.0))
    judge = Judge(build_fleet(problem(empty, round_s=100.0, target=1 / 20)))
    judged = judge(np.array([[0.0], [0.5], [1.0]]))
    assert judged.joules[:2] == pytest.approx([40.0, 40.0])
    assert np.isfinite(judged.joules).all()
