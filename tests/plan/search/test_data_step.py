import numpy as np
import pytest

from server.plan.build import build_fleet
from server.plan.problem import AnalyticCpu
from server.plan.search.data_step import DataStep
from tests.plan.builders import device, problem, table


def step(*devices, **fields):
    return DataStep(build_fleet(problem(*devices, **fields)))


def solve(of, *seconds):
    return of.solve(np.array([seconds], dtype=float))


def slopes(of, *seconds):
    return of.slopes(solve(of, *seconds), np.array([seconds], dtype=float))[0]


@pytest.mark.parametrize(("seconds", "joules", "slope"), [(20, 60, None), (30, 50, -1.0), (100, 40, 0.0)])
def test_one_device_trains_what_the_target_asks(seconds, joules, slope):
    """err = 1/x and target 1/20 ask for 20 samples, at 1 s and 3 J or 2 s and 2 J each."""
    of = step(device(), target=1 / 20)
    answer = solve(of, seconds)
    assert answer.reached.all()
    assert answer.samples[0] == pytest.approx([20.0])
    assert answer.joules[0] == pytest.approx([joules])
    if slope is not None:
        assert slopes(of, seconds) == pytest.approx([slope], abs=1e-8)


def test_too_little_time_is_told_and_trains_all_it_can():
    answer = solve(step(device(), target=1 / 20), 15)
    assert not answer.reached[0]
    assert answer.samples[0] == pytest.approx([15.0])


def test_two_devices_by_hand():
    """1 J and 4 J a sample: x_a = 2*x_b, and 1/(2*x_b) + 1/x_b = 2/20 gives 30 and 15; lambda = 2*1*30**2."""
    cheap = device("a", cpu=table((1e9, 1.0, 1.0)))
    dear = device("b", cpu=table((1e9, 1.0, 4.0)))
    answer = solve(step(cheap, dear, target=1 / 20), 100, 100)
    assert answer.samples[0] == pytest.approx([30.0, 15.0])
    assert answer.joules[0] == pytest.approx([30.0, 60.0])
    assert answer.price_error_j[0] == pytest.approx(1800.0)


def test_a_curve_by_hand():
    """w = 1, kappa = 1, nothing else: 20 samples in 10 s at 2 Hz cost (1*20)**3/10**2 J, a second saves 2*80/10."""
    of = step(device(cpu=AnalyticCpu(0.0, 1.0, 0.0, 0.0, 1.0, 0.1, 10.0)), target=1 / 20)
    assert solve(of, 10).joules[0] == pytest.approx([80.0])
    assert slopes(of, 10) == pytest.approx([-16.0])


def test_epochs_count_as_trained_samples():
    of = step(device(), target=1 / 20, local_epochs=3)
    assert solve(of, 90).joules[0] == pytest.approx([150.0])


def test_without_a_target_everybody_trains_the_local_samples():
    answer = solve(step(device()), 15)
    assert answer.samples[0].tolist() == [10.0]
    assert answer.joules[0] == pytest.approx([25.0])
    assert answer.price_error_j.tolist() == [0.0]


def test_local_samples_that_suffice_cost_no_price():
    answer = solve(step(device(), target=0.2), 100)
    assert answer.samples[0].tolist() == [10.0]
    assert answer.price_error_j.tolist() == [0.0]


def test_a_target_at_the_floor_is_never_reached():
    of = step(device(), target=0.5)
    floor = DataStep(build_fleet(problem(device(), target=0.5, learning_curve=type(of.fleet.curve)(1.0, 1.0, 0.5))))
    assert not solve(floor, 1000).reached[0]


def test_a_pooled_target_fills_the_cheap_device_first():
    """1 J and 4 J a sample, a pooled 1/20 asks for 40 in all: 30 where there is time for 30, 10 on the dear one. One
    more of its samples costs 4 J and adds 1/2 to the mean; err' = -1/20**2 there: lambda = 4*2*400."""
    cheap = device("a", cpu=table((1e9, 1.0, 1.0)))
    dear = device("b", local=(5, 0), cpu=table((1e9, 1.0, 4.0)))
    of = step(cheap, dear, target=1 / 20, accuracy_model="pooled")
    answer = solve(of, 30, 100)
    assert answer.reached.all()
    assert answer.samples[0] == pytest.approx([30.0, 10.0])
    assert answer.joules[0] == pytest.approx([30.0, 40.0])
    assert answer.price_error_j[0] == pytest.approx(3200.0)
    # a second more of the cheap one moves a sample there: 1 - 4 J; the dear one has time to spare
    assert of.slopes(answer, np.array([[30.0, 100.0]]))[0] == pytest.approx([-3.0, 0.0], abs=1e-6)
    assert not solve(of, 30, 9).reached[0]


def test_a_pooled_target_between_two_points_of_a_curve():
    """w = kappa = 1: 20 samples in 10 s cost 20**3/10**2 = 80 J each; two alike share alike."""
    law = AnalyticCpu(0.0, 1.0, 0.0, 0.0, 1.0, 0.1, 10.0)
    of = step(device("a", cpu=law), device("b", cpu=law), target=1 / 20, accuracy_model="pooled")
    answer = solve(of, 10, 10)
    assert answer.samples[0] == pytest.approx([20.0, 20.0])
    assert answer.joules[0] == pytest.approx([80.0, 80.0])


def test_candidates_do_not_see_each_other():
    of = step(device("a"), device("b", cpu=AnalyticCpu(0.1, 1e9, 2.0, 1.0, 1e-27, 2e8, 2e9)), target=1 / 20)
    seconds = np.array([[30.0, 40.0], [21.0, 25.0], [100.0, 12.0], [11.0, 11.0]])
    together = of.solve(seconds)
    for row, alone in enumerate(seconds):
        one = of.solve(alone[None, :])
        assert one.reached[0] == together.reached[row]
        assert one.joules[0] == pytest.approx(together.joules[row], rel=1e-6)
