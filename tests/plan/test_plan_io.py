from __future__ import annotations

import json

import pytest

from server.errors import ConfigError
from server.plan.plan_io import (
    decode_plan,
    decode_problem,
    encode_plan,
    encode_problem,
    load_plan,
    load_problem,
    save_plan,
    save_problem,
)
from server.plan.solve import solve
from tests.plan.builders import KINDS, device, problem, random_problem


@pytest.mark.parametrize("kind", KINDS)
def test_problems_and_plans_survive_their_files(kind, tmp_path):
    asked = random_problem(1, 3, kind, "mixed", 0.5)
    plan = solve(asked)
    save_problem(asked, tmp_path / "fleet.json")
    save_plan(plan, tmp_path / "plan.json")
    again = load_problem(tmp_path / "fleet.json")
    assert encode_problem(again) == encode_problem(asked)
    assert load_plan(tmp_path / "plan.json") == plan
    assert solve(again).energy_j == plan.energy_j


def test_the_names_in_the_files():
    asked = random_problem(1, 2, "scheduled", "mixed", 0.5)
    file = json.loads(encode_problem(asked))
    assert set(file) == {"local_epochs", "round_s", "bandwidth_hz", "target_error", "energy_basis", "accuracy_model",
                         "learning_curve", "synthetic_value", "devices"}  # fmt: skip
    tabled, law = file["devices"]
    assert set(tabled["opps"][0]) == {"freq_hz", "s_per_sample", "j_per_sample"}
    assert tabled["cpu"]["power_idle_w"] > 0
    assert tabled["cpu"]["kappa_w_per_hz3"] is None
    assert law["opps"] is None
    plan = json.loads(encode_plan(solve(asked)))
    assert set(plan["devices"][0]["executed"]) == {"samples", "segments", "compute_s", "compute_j"}
    assert plan["method"] == "exact"


def test_opps_are_sorted_on_the_way_in():
    file = json.loads(encode_problem(problem(device())))
    file["devices"][0]["opps"].reverse()
    assert decode_problem(json.dumps(file).encode()).devices[0].cpu.freq_hz.tolist() == [5e8, 1e9]


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda file: file.update(rounds_s=1), "fleet.json: Object contains unknown field `rounds_s`"),
        (lambda file: file.pop("round_s"), "fleet.json: Object missing required field `round_s`"),
        (lambda file: file["devices"][0].update(upload_bits="1 MB"), "`$.devices[0].upload_bits`"),
        (lambda file: file["devices"][0]["radio"].update(kind="pigeon"), "`$.devices[0].radio.kind`"),
        (
            lambda file: file["devices"][0].update(opps=None),
            "fleet.json: devices[0].cpu: fixed_s_per_sample, cycles_per_sample, power_static_w, kappa_w_per_hz3, "
            "freq_min_hz, freq_max_hz missing; state them, or measured opps",
        ),
    ],
)
def test_a_broken_fleet_file_is_refused_by_path(break_it, sentence):
    file = json.loads(encode_problem(problem(device())))
    break_it(file)
    with pytest.raises(ConfigError) as error:
        decode_problem(json.dumps(file).encode())
    assert sentence in str(error.value)


def test_a_broken_plan_file_is_refused():
    with pytest.raises(ConfigError, match=r"^old\.json: Object missing required field"):
        decode_plan(b"{}", "old.json")
