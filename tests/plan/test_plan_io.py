from __future__ import annotations

import json
import math

import pytest

from server.errors import ConfigError
from server.plan import plan_io
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
from server.plan.problem import Radio
from server.plan.solve import solve
from tests.plan.builders import KINDS, device, problem, random_problem, table


@pytest.mark.parametrize("kind", KINDS)
def test_problems_and_plans_survive_their_files(kind, tmp_path):
    asked = random_problem(1, 3, kind, "mixed", 0.5)
    plan = solve(asked)
    save_problem(asked, tmp_path / "fleet.json")
    save_plan(plan, tmp_path / "plan.json")
    again = load_problem(tmp_path / "fleet.json")
    assert encode_problem(again) == encode_problem(asked)
    assert load_plan(tmp_path / "plan.json").record() == plan.record()
    assert solve(again).energy_j == plan.energy_j


def test_a_clock_that_is_not_known_is_null_in_the_files():
    asked = problem(device("a", cpu=table((math.nan, 1.0, 3.0))), device("b"), round_s=60.0)
    fleet, plan = json.loads(encode_problem(asked)), json.loads(encode_plan(solve(asked)))
    assert fleet["devices"][0]["opps"] == [{"freq_hz": None, "s_per_sample": 1.0, "j_per_sample": 3.0}]
    assert plan["devices"][0]["executed"]["segments"] == [{"freq_hz": None, "samples": 10}]
    again = decode_problem(json.dumps(fleet).encode())
    assert math.isnan(again.devices[0].cpu.freq_hz[0])
    assert decode_plan(json.dumps(plan).encode()).devices[0].segments[0].freq_hz is None
    del fleet["devices"][0]["opps"][0]["freq_hz"]
    with pytest.raises(ConfigError, match="missing required field `freq_hz`"):
        decode_problem(json.dumps(fleet).encode())


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


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_the_same_in_pieces(monkeypatch, kind):
    asked = random_problem(1, 7, kind, "mixed", 0.5)
    plan = solve(asked, batch_size=16)
    whole = encode_problem(asked), encode_plan(plan)
    monkeypatch.setattr(plan_io, "_PIECE", 3)
    assert (encode_problem(asked), encode_plan(plan)) == whole
    assert encode_problem(decode_problem(whole[0])) == whole[0]
    assert encode_plan(decode_plan(whole[1])) == whole[1]


def test_one_device_a_line():
    lines = encode_problem(random_problem(1, 3)).decode().splitlines()
    assert [line.startswith('  {"id":"d') for line in lines].count(True) == 3


def test_levels_and_an_unread_law_beside_a_table():
    radio = Radio("scheduled", gain_over_noise_hz_per_w=1e7, levels_w=(0.1, 0.2))
    file = json.loads(encode_problem(problem(device(radio=radio), bandwidth_hz=1e6)))
    assert file["devices"][0]["radio"]["levels_w"] == [0.1, 0.2]
    assert file["devices"][0]["radio"]["tx_power_max_w"] is None
    file["devices"][0]["cpu"]["kappa_w_per_hz3"] = 1e-27
    again = decode_problem(json.dumps(file).encode())
    assert again.devices[0].radio.levels_w == (0.1, 0.2)
    assert math.isnan(again.devices.laws.kappa_w_per_hz3[0])


def test_an_empty_fleet_is_left_to_validation():
    file = json.loads(encode_problem(problem(device())))
    assert len(decode_problem(json.dumps(file | {"devices": []}).encode()).devices) == 0


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda file: file.update(rounds_s=1), "fleet.json: Object contains unknown field `rounds_s`"),
        (lambda file: file.pop("round_s"), "fleet.json: Object missing required field `round_s`"),
        (lambda file: file["devices"][0].update(upload_bits="1 MB"), "`$.devices[0].upload_bits`"),
        (lambda file: file["devices"][4].update(colour="red"), "unknown field `colour` - at `$.devices[4]`"),
        (lambda file: file["devices"][3]["radio"].update(kind="pigeon"), "`$.devices[3].radio.kind`"),
        (lambda file: file["devices"][4].pop("cpu"), "missing required field `cpu` - at `$.devices[4]`"),
        (lambda file: file["devices"][4]["opps"].clear(), "length >= 1 - at `$.devices[4].opps`"),
        (
            lambda file: file["devices"][4].update(local_counts=[1, -2]),
            "`int` >= 0 - at `$.devices[4].local_counts[1]`",
        ),
        (lambda file: file["devices"][4].update(local_counts=[2**31, 0]), "2147483647 - at `$.devices[4].local_counts"),
        (
            lambda file: file["devices"][4].update(local_counts=[1]),
            "devices[4].local_counts: 1 classes, devices[0] has 2",
        ),
        (lambda file: file["devices"][4].update(storage_samples=1.5), "`$.devices[4].storage_samples`"),
        (
            lambda file: file["devices"][3].update(opps=None),
            "fleet.json: devices[3].cpu: fixed_s_per_sample, cycles_per_sample, power_static_w, kappa_w_per_hz3, "
            "freq_min_hz, freq_max_hz missing; state them, or measured opps",
        ),
    ],
)
def test_a_broken_fleet_file_is_refused_by_path(monkeypatch, break_it, sentence):
    monkeypatch.setattr(plan_io, "_PIECE", 2)
    file = json.loads(encode_problem(problem(*(device(name) for name in "abcde"))))
    break_it(file)
    with pytest.raises(ConfigError) as error:
        decode_problem(json.dumps(file).encode())
    assert sentence in str(error.value)


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "nul"])
def test_what_is_no_json_is_shown_with_its_line(odd):
    lines = encode_problem(problem(device("a"), device("b"))).decode().splitlines()
    at = next(i for i, line in enumerate(lines) if '"b"' in line)
    lines[at] = lines[at].replace('"upload_bits":100.0', f'"upload_bits":{odd}')
    with pytest.raises(
        ConfigError, match=rf"^fleet\.json: JSON is malformed: .*, line {at + 1}: .*upload_bits\":{odd}"
    ):
        decode_problem("\n".join(lines).encode())


def test_a_file_that_is_cut_short_or_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"^fleet\.json: Input data was truncated"):
        decode_problem(encode_problem(problem(device()))[:-9])
    with pytest.raises(ConfigError, match=r"none\.json: No such file or directory; give the path of a readable JSON"):
        load_plan(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="give a path that can be written"):
        save_problem(problem(device()), tmp_path / "nowhere" / "fleet.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ConfigError, match="give a path that can be written"):
        save_problem(problem(device()), tmp_path / "folder.json")


def test_a_plan_whose_classes_differ_in_number_is_refused():
    file = json.loads(encode_plan(solve(problem(device("a"), device("b")))))
    file["devices"][1]["synth_counts"] = [0]
    with pytest.raises(ConfigError, match=r"plan\.json: devices\[1\]\.synth_counts: 1 classes, devices\[0\] has 2"):
        decode_plan(json.dumps(file).encode())


def test_a_broken_plan_file_is_refused():
    with pytest.raises(ConfigError, match=r"^old\.json: Object missing required field"):
        decode_plan(b"{}", "old.json")


def test_a_number_beyond_all_counting_is_refused():
    """What does not fit into 64 bits is named, not run into."""
    made = problem(device("a"))
    payload = encode_plan(solve(made)).replace(
        b'"executed":{"samples":10', b'"executed":{"samples":99999999999999999999'
    )
    with pytest.raises(ConfigError, match=r"devices\[0\]\.executed\.samples"):
        decode_plan(payload)
