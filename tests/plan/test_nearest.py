"""What is named as nearest has a plan, a little less has none, and the executed plan is made even at the edge."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from server.plan.check import violations
from server.plan.diagnosis import NoPlanError
from server.plan.nearest import explained
from server.plan.problem import Problem
from server.plan.random_fleet import random_fleet
from server.plan.solve import solve
from tests.plan.builders import KINDS, device, problem, table

NAMED = re.compile(r"(?:the least|a) (round_s|bandwidth_hz|target_error) (?:is|of) ([\d.e+]+)")


def refusal(made: Problem) -> NoPlanError:
    with pytest.raises(NoPlanError) as caught:
        solve(made)
    return caught.value


ROUNDS = [(radio, "round_s", part) for radio in KINDS for part in (0.3, 0.4)]
BANDS = [(radio, "bandwidth_hz", 0.1) for radio in ("scheduled", "fixed_power")]


@pytest.mark.parametrize(("radio", "field", "factor"), ROUNDS + BANDS)
def test_what_is_named_has_a_plan_and_less_has_none(radio, field, factor):
    made = random_fleet(4, 3, radio, tables=True)
    made = replace(made, **{field: factor * getattr(made, field)})
    error = refusal(made)
    named = NAMED.findall(str(error))
    assert named
    for name, value in named:
        # seven digits are printed
        enough = replace(made, **{name: float(value) * (1 + 2e-6)})
        assert violations(enough, solve(enough)) == []
        assert refusal(replace(made, **{name: float(value) * (1 - 1e-5)}))
    assert error.nearest is not None


def test_a_longer_round_uncovers_the_target():
    """Ten local samples of 1 s, twenty wanted for an error of 1/20, a link of half a second: 10.5 s would do for the
    local samples, 20.5 s for all."""
    error = refusal(problem(device("a", cpu=table((1e9, 1.0, 1.0))), target=1 / 20, round_s=10.0))
    assert error.constraint == "round_s"
    assert error.nearest == pytest.approx(21.0, rel=1e-5)
    assert str(error).endswith("takes up to 11 s; the least round_s is 21.00002")


def test_no_round_is_long_enough_for_more_than_can_be_stored():
    error = refusal(problem(device("a", cpu=table((1e9, 1.0, 1.0)), storage=5), target=1 / 20, round_s=10.0))
    assert error.nearest is None
    assert "no round_s alone will do: target_error 0.05 is out of reach even with all storage filled" in str(error)


def test_a_large_fleet_is_told_what_is_sure(monkeypatch):
    monkeypatch.setattr("server.plan.nearest._LARGEST", 0)
    error = refusal(problem(device("a", cpu=table((1e9, 1.0, 1.0))), target=1 / 20, round_s=10.0))
    assert str(error).endswith("takes up to 11 s; round_s must be at least 11.00001")


def test_other_refusals_stay_as_they_are():
    error = NoPlanError("none", "local_counts", (), 0.5)
    assert explained(None, error, None) is error  # type: ignore[arg-type]


@pytest.mark.parametrize("beyond", [1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("seed", [0, 1])
def test_whole_samples_are_found_near_the_edge(seed, beyond):
    """The uploads of least joules leave no time for one more sample; quicker ones do: the gap says what they cost."""
    made = random_fleet(20, seed, "scheduled", tables=True)
    least = refusal(replace(made, target_error=0.13)).nearest
    assert least is not None
    asked = replace(made, target_error=least * (1 + beyond))
    plan = solve(asked, batch_size=32)
    assert violations(asked, plan) == []
    assert plan.relative_gap < 0.03


@pytest.mark.parametrize("seed", range(3))
def test_the_least_target_in_whole_samples_has_a_plan(seed):
    made = random_fleet(1 + seed, seed, "scheduled", tables=True)
    least = refusal(replace(made, target_error=0.13)).nearest
    assert least is not None
    tight = replace(made, target_error=least * (1 + 1e-9))
    try:
        assert violations(tight, solve(tight, batch_size=32)) == []
    except NoPlanError as error:
        assert "in whole samples" in str(error)
        assert error.nearest is not None
        enough = replace(made, target_error=error.nearest * (1 + 1e-6))
        assert violations(enough, solve(enough, batch_size=32)) == []
