from __future__ import annotations

import pytest

from server.plan.diagnosis import NoPlanError
from server.plan.leave_out import without_infeasible
from server.plan.solve import solve
from tests.plan.builders import device, problem


def test_devices_without_data_or_time_are_left_out():
    asked = problem(device("bare", local=(0, 0), storage=0), device("a"), device("slow", local=(20, 0)), round_s=15.0)
    kept, out = without_infeasible(asked)
    assert kept.devices.ids == ("a",)
    assert out == {"bare": "no samples to train on", "slow": "needs 21 s of a round of 15 s"}
    assert solve(kept).devices.ids == ("a",)


def test_a_fleet_that_has_a_plan_stays_as_it_is():
    asked = problem(device("a"), device("b"))
    assert without_infeasible(asked) == (asked, {})


def test_somebody_must_remain():
    with pytest.raises(NoPlanError, match=r"no device is left: a, for one, needs 11 s of a round of 5 s"):
        without_infeasible(problem(device("a"), device("b"), round_s=5.0))


def test_what_is_nobodys_own_fault_is_not_mended_so():
    asked = problem(device("a"), target=1e-6)  # out of reach of all storage
    assert without_infeasible(asked)[1] == {}
