"""Problems without a plan: the sentence, the constraint, the devices, and that the nearest value has a plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.errors import InfeasibleError
from server.plan.diagnosis import NoPlanError, named
from server.plan.problem import LearningCurve, Radio
from server.plan.solve import solve
from tests.plan.builders import device, problem, random_problem, table

SINGLE = table((1e9, 1.0, 1.0))
RADIO = Radio("scheduled", gain_over_noise_hz_per_w=1e7, tx_power_max_w=0.1)
LINK = Radio("shared_link", link_bits_per_s=1e6)


def refusal(asked) -> NoPlanError:
    with pytest.raises(InfeasibleError) as error:
        solve(asked)
    assert isinstance(error.value, NoPlanError)
    return error.value


def test_a_round_too_short_for_one_device():
    # 10 samples at 1 s and an upload of 1 s
    slow = device("slow", local=(20,))
    error = refusal(problem(device("a", local=(10,)), slow, round_s=15.0))
    assert (error.constraint, error.devices) == ("round_s", ("slow",))
    assert error.nearest == pytest.approx(21.0, rel=2e-6)
    assert str(error) == (
        "round_s 15 is too short for slow: training local samples at the highest clock and uploading alone takes up to "
        "21 s; the least round_s is 21.00002"
    )
    assert solve(problem(device("a", local=(10,)), slow, round_s=error.nearest)).energy_j == pytest.approx(81.0)


def test_a_band_too_narrow():
    # 2 s for 2e6 bits at 0.1 W: alone each needs 1 MHz, so two need 2
    asked = problem(*(device(n, cpu=SINGLE, radio=RADIO, bits=2e6) for n in "ab"), round_s=12.0, bandwidth_hz=1.5e6)
    error = refusal(asked)
    assert (error.constraint, error.devices) == ("bandwidth_hz", ("a",))
    assert error.nearest == pytest.approx(2e6, rel=2e-6)
    assert str(error).startswith(
        "bandwidth_hz 1.5e+06 is too little for all uploads within round_s 12: they need 2000002 Hz, most of it for a; "
        "the least bandwidth_hz is 2000002, or a round_s of 12."
    )
    assert solve(replace(asked, bandwidth_hz=error.nearest)).energy_j == pytest.approx(20.4, rel=1e-5)
    longer = float(str(error).rsplit(" ", 1)[1])
    assert solve(replace(asked, round_s=longer)).devices[0].tx_power_w == pytest.approx(0.1, rel=1e-4)
    assert refusal(replace(asked, round_s=longer * (1 - 1e-5))).constraint == "bandwidth_hz"


def test_an_upload_impossible_at_any_bandwidth():
    error = refusal(problem(device("a", cpu=SINGLE, radio=RADIO, bits=2e6), round_s=10.5, bandwidth_hz=1e9))
    assert (error.constraint, error.devices) == ("round_s", ("a",))


def test_a_shared_link_too_slow():
    # each upload takes the whole link for 2 s, 3 s are left
    asked = problem(*(device(n, cpu=SINGLE, radio=LINK, bits=2e6) for n in "ab"), round_s=13.0)
    error = refusal(asked)
    assert (error.constraint, error.nearest) == ("round_s", pytest.approx(14.0, rel=1e-5))
    assert str(error).startswith(
        "the shared link cannot carry all uploads within round_s 13: it would have to be 1.333 times as fast"
    )
    assert solve(replace(asked, round_s=error.nearest)).devices[0].upload_s == pytest.approx(4.0, rel=1e-4)


def test_a_round_that_must_be_several_times_as_long():
    asked = problem(*(device(f"d{i}", cpu=SINGLE, radio=LINK, bits=1e6) for i in range(50)), round_s=11.5)
    error = refusal(asked)
    assert error.nearest == pytest.approx(60.0, rel=1e-5)
    assert len(error.devices) == 10


def test_accuracy_at_the_floor():
    curve = LearningCurve(1.0, 1.0, 0.3)
    error = refusal(problem(device(cpu=SINGLE), target=0.3, learning_curve=curve))
    assert error.constraint == "target_error"
    assert "lies at or below the learning curve's floor gamma = 0.3" in str(error)
    assert error.nearest == pytest.approx(0.3 + 1 / 110, rel=2e-6)


def test_accuracy_beyond_all_storage():
    asked = problem(device("a", cpu=SINGLE, storage=10), device("b", cpu=SINGLE, storage=30), target=1 / 40)
    error = refusal(asked)
    # 20 and 40 samples: (1/20 + 1/40)/2 = 0.0375; only a is worse than the target
    assert error.nearest == pytest.approx(0.0375, rel=2e-6)
    assert error.devices == ("a",)
    assert str(error) == (
        "target_error 0.025 is out of reach even with all storage filled on every device; the least target_error is "
        "0.03750004"
    )
    assert solve(replace(asked, target_error=error.nearest)).energy_j == pytest.approx(61.0, rel=1e-4)


def test_a_mean_error_out_of_reach_is_nobodys_fault():
    # 20, 20 and 40 samples: (1/20 + 1/20 + 1/40)/3; without one of the first two the mean is still 0.0375
    small = [device(name, cpu=SINGLE, storage=10) for name in "ab"]
    asked = problem(*small, device("c", cpu=SINGLE, storage=30), target=1 / 40)
    error = refusal(asked)
    assert (error.constraint, error.devices) == ("target_error", ())
    # 0.038 is kept by b and c alone: a is named, b, as bad, is not
    error = refusal(replace(asked, target_error=0.038))
    assert error.devices == ("a",)
    assert solve(replace(asked, devices=asked.devices.take(np.array([1, 2])), target_error=0.038)).energy_j > 0


def test_accuracy_beyond_the_time():
    error = refusal(problem(device(cpu=SINGLE), target=1 / 40, round_s=31.0))
    assert "is out of reach within round_s 31, even at the highest clocks" in str(error)
    assert error.nearest == pytest.approx(1 / 30, rel=2e-6)


def test_accuracy_beyond_the_time_of_a_quick_clock():
    # 30 s at half a second a sample, twice: 30 samples
    error = refusal(problem(device(cpu=table((1e9, 0.5, 1.0))), target=1 / 40, round_s=31.0, local_epochs=2))
    assert error.nearest == pytest.approx(1 / 30, rel=2e-6)


def test_accuracy_beyond_storage_here_and_time_there():
    slow = device("slow", cpu=table((1e9, 2.0, 1.0)))
    error = refusal(problem(device("a", cpu=SINGLE, storage=5), slow, target=1 / 40, round_s=31.0))
    assert "storage_samples binds on 1 devices, round_s on slow" in str(error)


def test_accuracy_in_whole_samples():
    # a half sample more would be enough in the continuum, and there is no time for a whole one
    error = refusal(problem(device(cpu=SINGLE), target=1 / 20.4, round_s=21.5))
    assert "out of reach in whole samples" in str(error)
    assert error.nearest == pytest.approx(1 / 20, rel=2e-6)


@pytest.mark.parametrize(("target", "fix"), [(None, "give it data,"), (0.05, "give it data or storage_samples,")])
def test_nothing_to_train_on(target, fix):
    error = refusal(problem(device("bare", local=(0, 0), storage=0), target=target))
    assert (error.constraint, error.devices) == ("local_counts", ("bare",))
    assert str(error) == f"no samples to train on bare: {fix} or leave it out"


@pytest.mark.parametrize("kind", ["shared_link", "fixed_power", "mixed"])
def test_the_nearest_target_has_a_plan(kind):
    asked = random_problem(21, 5, kind, "mixed", 0.5)
    error = refusal(replace(asked, target_error=0.0501))
    plan = solve(replace(asked, target_error=error.nearest * 1.002))
    assert plan.relative_gap < 1e-6
    assert refusal(replace(asked, target_error=error.nearest * (1 - 1e-4))).constraint == "target_error"


def test_long_lists_are_cut():
    assert named(("a", "b")) == "a, b"
    assert named(tuple("abcdefg")) == "a, b, c, d, e and 2 more"
