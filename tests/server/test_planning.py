"""fimi-server plan without a run, and check-plan, as commands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from server import cli, planning, search_line
from server.plan import file_forms, methods, random_fleet
from server.plan.devices import Spread
from server.plan.plan_io import save_problem
from tests.plan.builders import device, problem, table

README = Path(__file__).resolve().parents[2] / "server" / "plan" / "README.md"


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_names_written_out_for_the_help_are_those_of_the_modules():
    assert planning.METHODS == methods.METHODS
    assert planning.RADIO_CHOICES == random_fleet.RADIO_CHOICES


def test_a_random_fleet_is_planned_written_and_checked(tmp_path, capsys):
    fleet, plan, plot = (tmp_path / name for name in ("fleet.json", "plan.json", "plan.png"))
    assert run("plan", "--random", 8, "--seed", 3, "--tables", "--fleet-out", fleet, "--out", plan, "--plot", plot) == 0
    said = capsys.readouterr().out
    assert "exact: " in said
    assert "8 devices" in said
    assert said.count("\nraspberry-pi-") + said.count("\njetson-") == 8  # one line a device
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run("check-plan", "--fleet", fleet, "--plan", plan) == 0
    checked = capsys.readouterr().out
    assert checked.startswith(f"{plan}: sound; ")
    assert checked.endswith("lower bound: proved again at its prices\n")
    again = tmp_path / "again.json"
    assert run("plan", "--fleet", fleet, "--out", again) == 0
    one, other = (json.loads(path.read_text()) for path in (plan, again))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
    for share in one["devices"]:
        assert sum(segment["samples"] for segment in share["executed"]["segments"]) == share["executed"]["samples"]


def test_terms_on_the_command_line_go_before_the_files(tmp_path, capsys):
    fleet, plan = tmp_path / "fleet.json", tmp_path / "plan.json"
    save_problem(problem(device(cpu=table((1e9, 1.0, 1.0))), target=0.1), fleet)
    assert run("plan", "--fleet", fleet, "--target-error", 0.05, "--round-s", 50, "--out", plan) == 0
    assert json.loads(plan.read_text())["energy_j"] == pytest.approx(20.5)
    capsys.readouterr()
    assert run("check-plan", "--fleet", fleet, "--plan", plan) == 0  # more accurate than asked
    # its price is 400 J: D + 400/D is at least 40 J, less 400 * 0.1, and 0.5 J of upload
    assert "lower bound: not proved: at its prices a plan for these terms may cost 0.5 J;" in capsys.readouterr().out
    assert run("check-plan", "--fleet", fleet, "--plan", plan, "--bound") == 3
    assert "lower_bound_j is not proved: " in capsys.readouterr().err
    assert run("check-plan", "--fleet", fleet, "--plan", plan, "--bound", "--target-error", 0.05) == 0
    assert run("plan", "--fleet", fleet, "--out", plan) == 0
    capsys.readouterr()
    assert run("check-plan", "--fleet", fleet, "--plan", plan, "--target-error", 0.05) == 3
    out, err = capsys.readouterr()
    assert "the mean error of samples" in out
    assert err.startswith(f"fimi-server: {plan} is no sound plan for {fleet}: the mean error of samples")


def test_a_plan_on_standard_output_stands_there_alone(tmp_path, capsys):
    fleet = tmp_path / "fleet.json"
    save_problem(problem(device()), fleet)
    assert run("plan", "--fleet", fleet, "--out", "-") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["energy_j"] == pytest.approx(20.5)
    assert err.startswith("exact: 20.5 J added a round of at most 1,000 s, 1 device")


def test_steps_are_timed_on_demand(tmp_path, capsys):
    assert run("plan", "--random", 2, "--timings", "--out", tmp_path / "plan.json") == 0
    steps = [line.split()[0] for line in capsys.readouterr().err.splitlines()]
    assert steps == ["make", "validate", "build", "solve", "realise", "fill", "check", "write"]


def test_a_changed_plan_is_caught(tmp_path, capsys):
    fleet, plan = tmp_path / "fleet.json", tmp_path / "plan.json"
    run("plan", "--random", 3, "--radio", "mixed", "--fleet-out", fleet, "--out", plan)
    file = json.loads(plan.read_text())
    file["devices"][1]["executed"]["compute_j"] *= 0.99
    plan.write_text(json.dumps(file))
    capsys.readouterr()
    assert run("check-plan", "--fleet", fleet, "--plan", plan) == 3
    assert "executed_compute_j" in capsys.readouterr().out


def test_devices_that_make_it_impossible(tmp_path, capsys):
    fleet, kept = tmp_path / "fleet.json", tmp_path / "kept.json"
    save_problem(problem(device("a"), device("slow", local=(20, 0)), round_s=15.0), fleet)
    assert run("plan", "--fleet", fleet) == 3
    assert "round_s 15 is too short for slow" in capsys.readouterr().err
    plan = tmp_path / "plan.json"
    assert run("plan", "--fleet", fleet, "--drop-infeasible", "--fleet-out", kept, "--out", plan) == 0
    assert "left out: slow (slow: needs 21 s of a round of 15 s)" in capsys.readouterr().out
    assert run("check-plan", "--fleet", kept, "--plan", plan) == 0
    assert run("check-plan", "--fleet", fleet, "--plan", plan) == 3
    assert "the plan's devices are not the problem's" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["ce", "ga", "gradient"])
def test_a_search_says_what_it_did_and_its_plan_is_sound(method, tmp_path, capsys):
    fleet, plan = tmp_path / "fleet.json", tmp_path / "plan.json"
    asked = ("--random", 4, "--fleet-out", fleet, "--out", plan, "--method", method, "--evaluations", 300)
    assert run("plan", *asked) == 0
    said = capsys.readouterr()
    assert said.out.count(f"{method}: ") == 1
    assert re.fullmatch(method + r": \d+ of 300 candidates, best [\d.]+ J\n", said.err)
    told = json.loads(plan.read_text())
    assert told["method"] == method
    assert told["lower_bound_j"] <= told["energy_j"] <= 1.01 * told["lower_bound_j"]
    assert run("check-plan", "--fleet", fleet, "--plan", plan) == 0


def test_cvxpy_plans_what_the_exact_solver_plans(tmp_path, capsys):
    fleet, plan = tmp_path / "fleet.json", tmp_path / "plan.json"
    assert run("plan", "--random", 4, "--tables", "--fleet-out", fleet, "--out", plan, "--method", "cvxpy") == 0
    assert capsys.readouterr().err == ""
    told = json.loads(plan.read_text())
    assert told["method"] == "cvxpy"
    assert abs(told["relative_gap"]) < 1e-5
    assert run("check-plan", "--fleet", fleet, "--plan", plan) == 0


def test_an_interrupted_search_gives_what_it_has_found(tmp_path, capsys, monkeypatch):
    class Impatient(search_line.SearchLine):
        def __call__(self, spent, asked, best_j):
            super().__call__(spent, asked, best_j)
            if spent > 100:
                raise KeyboardInterrupt

    monkeypatch.setattr(search_line, "SearchLine", Impatient)
    plan = tmp_path / "plan.json"
    assert run("plan", "--random", 4, "--out", plan, "--method", "ce", "--evaluations", 1000) == 0
    assert re.fullmatch(r"ce: 1[0-4]\d of 1,000 candidates, best [\d.]+ J\n", capsys.readouterr().err)
    assert json.loads(plan.read_text())["relative_gap"] < 0.5


def test_a_sweep_is_a_table_and_a_picture(tmp_path, capsys):
    fleet, plot = tmp_path / "fleet.json", tmp_path / "sweep.png"
    save_problem(problem(device(cpu=table((1e9, 1.0, 1.0))), target=0.1), fleet)
    assert run("plan", "--fleet", fleet, "--sweep", "target-error=0.001:0.101:3", "--plot", plot) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["target-error", "J"]
    assert lines[1].split() == ["0.001", *"-" * 8]
    assert lines[2].split()[:2] == ["0.051", "20.11"]
    assert lines[4].startswith("no plan for 1 of 3 values: target_error 0.001 is out of reach")
    assert plot.read_bytes().startswith(b"\x89PNG")
    points = tmp_path / "sweep.json"
    assert run("plan", "--fleet", fleet, "--sweep", "target-error=0.001:0.101:3", "--out", points) == 0
    written = json.loads(points.read_text())
    assert written["axis"] == "target-error"
    assert [point["value"] for point in written["points"]] == pytest.approx([0.001, 0.051, 0.101])
    assert written["points"][0]["energy_j"] is None
    joules = [point["energy_j"] for point in written["points"][1:]]
    assert joules == pytest.approx([1.0 * 1000 / 51 + 0.5, 10.5])
    capsys.readouterr()
    assert run("plan", "--fleet", fleet, "--sweep", "target-error=0.001:0.002:3") == 3
    assert "no value of target-error has a plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["plan"], 2, "plan needs one of RUN_DIR, --fleet FLEET.json and --random N"),
        (["plan", "--fleet", "f", "--random", "3"], 2, "plan needs one of"),
        (["plan", "run", "--out", "p", "--round-s", "3"], 2, "--out, --round-s: not with RUN_DIR"),
        (["plan", "--random", "2", "--fleet-out", "-"], 2, "--fleet-out -: give the name of a file"),
        (["plan", "--fleet", "none.json"], 2, "none.json: No such file or directory"),
        (["plan", "--random", "0"], 2, "--random: 0 is not a whole number above 0"),
        (["plan", "--random", "2", "--seed", "-1"], 2, "--seed: -1 is below 0"),
        (["plan", "--random", "2", "--batch-size", "0"], 2, "--batch-size: 0 is not a whole number above 0"),
        (["plan", "--random", "2", "--sweep", "x=1:2:3"], 2, "is not AXIS=LO:HI:N"),
        (["plan", "--random", "2", "--robust", "1"], 2, "robust: a share of 1.0 is not in [0.5, 1)"),
        (["plan", "--random", "2", "--evaluations", "9"], 2, "evaluations: only methods that search count them"),
        (["plan", "--random", "2", "--method", "ga", "--evaluations", "0"], 2, "evaluations: 0 is not a whole number"),
        (
            ["plan", "--random", "2", "--method", "cvxpy", "--evaluations", "9"],
            2,
            "only methods that search count them",
        ),
        (["plan", "--random", "51", "--method", "cvxpy"], 2, "51 devices are too many for cvxpy, a check for up to 50"),
        (["plan", "--random", "2", "--radio", "levels", "--method", "ce"], 2, "planned by the method 'exact' only"),
        (["plan", "--random", "2", "--method", "ce", "--round-s", "0.001"], 3, "round_s 0.001 is too short for"),
        (
            ["plan", "--random", "2", "--method", "cvxpy", "--target-error", "0.1"],
            3,
            "target_error 0.1 lies at or below",
        ),
        (["plan", "--random", "2", "--round-s", "nan"], 2, "round_s: nan is not a finite number above 0"),
        (["plan", "--random", "2", "--target-error", "-1"], 2, "target_error: -1.0 is not a finite number above 0"),
        (["plan", "--random", "2", "--round-s", "0.001"], 3, "round_s 0.001 is too short for"),
        (["plan", "--random", "2", "--out", "nowhere/p.json"], 2, "give a path that can be written"),
        (["check-plan", "--fleet", "none.json", "--plan", "p"], 2, "none.json: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("fimi-server: ")
    assert said.count("\n") == 1


def test_every_option_is_explained():
    text = README.read_text()
    (commands,) = (action for action in cli.build_parser()._actions if action.dest == "command")
    for command in ("plan", "check-plan"):
        for action in commands.choices[command]._actions:
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    assert option in text, option


def test_every_field_of_the_files_is_explained():
    text = README.read_text()
    for name in vars(file_forms):
        for field in getattr(getattr(file_forms, name), "__struct_fields__", ()):
            assert re.search(rf"\b{field}\b", text), (name, field)


def test_a_robust_plan_says_how_many_are_in_time_and_is_checked_on_its_own_fleet(tmp_path, capsys):
    fleet, plan = tmp_path / "slow.json", tmp_path / "plan.json"
    arguments = ("--random", 5, "--radio", "mixed", "--tables", "--robust", 0.9)
    assert run("plan", *arguments, "--fleet-out", fleet, "--out", plan) == 0
    said = capsys.readouterr().out
    found = re.search(r"robust: 90.0% of devices asked to be in time; (\d+\.\d+)% were in 10,000 rounds", said)
    assert found and 90.0 <= float(found[1]) < 95.0
    assert run("check-plan", "--fleet", fleet, "--plan", plan) == 0


def test_without_spreads_nothing_is_robust(tmp_path, capsys):
    fleet = tmp_path / "fleet.json"
    save_problem(problem(device()), fleet)
    assert run("plan", "--fleet", fleet, "--robust", 0.9) == 2
    assert "devices[].spread: nobody states one" in capsys.readouterr().err


def test_devices_too_erratic_for_the_share_can_be_left_out(tmp_path, capsys):
    fleet = tmp_path / "fleet.json"
    wild = replace(device("wild"), spread=Spread(speed=3.0))
    save_problem(problem(replace(device("calm"), spread=Spread(speed=0.1)), wild, round_s=20.0), fleet)
    assert run("plan", "--fleet", fleet, "--robust", 0.995) == 3
    assert "of its spreads slow and badly connected: round_s 20 is too short for wild" in capsys.readouterr().err
    assert run("plan", "--fleet", fleet, "--robust", 0.995, "--drop-infeasible") == 0
    assert "left out: wild" in capsys.readouterr().out
