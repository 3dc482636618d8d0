"""The amount of data for the whole training: chosen by what was measured, for this kind of run only."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from server.config import DataConfig, FleetConfig, PlanConfig, RunConfig
from server.errors import DataError, InfeasibleError
from server.learning.progressions import terms
from server.outlay import Choice, OutlayRecord, choose, describe, load_curves, with_fill_factor
from server.plan.whole_training import RoundCurve

PLAIN = RoundCurve(1.0, np.array([[0.3, 0.4, 0.5, 0.6]]))
FILLED = RoundCurve(2.0, np.array([[0.5, 0.6]]))
CONFIG = RunConfig(
    fleet=FleetConfig(devices=2),
    data=DataConfig(local_samples=50),
    plan=PlanConfig(target_accuracy=0.5, rounds="rounds.json"),
)


def write(folder: Path, **changed: object) -> None:
    content = {
        "format": "fimi-rounds-2",
        "progressions": [
            {"fill_factor": 1.0, "seed": 0, "accuracy": [0.3, 0.4, 0.5, 0.6]},
            {"fill_factor": 2.0, "seed": 0, "accuracy": [0.5, 0.6]},
        ],
        "provenance": {**terms(CONFIG), **changed},
    }
    (folder / "rounds.json").write_text(json.dumps(content))


def test_the_cheapest_way_to_the_target() -> None:
    """Plain FL needs 3 rounds to 0.5, filled devices one; a filled round may cost up to three plain ones."""
    joules = {1.0: 10.0, 2.0: 25.0}
    choice = choose([PLAIN, FILLED], joules.__getitem__, 0.5)
    assert choice.fill_factor == 2.0
    assert [(one.fill_factor, one.rounds, one.total_j) for one in choice.candidates] == [
        (2.0, 1.0, 25.0),
        (1.0, pytest.approx(3.0), pytest.approx(30.0)),
    ]
    assert choose([PLAIN, FILLED], {1.0: 10.0, 2.0: 35.0}.__getitem__, 0.5).fill_factor == 1.0
    assert describe(choice) == (
        "to accuracy 50.0%: 2 times the data, predicted 1.0 rounds of 25.0 J, 25 J (others: 1: 30 J)"
    )


def test_a_target_out_of_reach_is_one_sentence() -> None:
    with pytest.raises(InfeasibleError, match=r"target_accuracy 0.7 is not reached .* measured is 0\.600"):
        choose([PLAIN, FILLED], lambda _: 1.0, 0.7)


def test_no_more_data_than_there_is_can_be_the_choice() -> None:
    plan = with_fill_factor(PlanConfig(target_error=0.3), 1.0)
    assert (plan.fill_factor, plan.target_error) == (1.0, None)


def test_curves_of_this_kind_of_run(tmp_path: Path) -> None:
    write(tmp_path)
    plain, filled = load_curves(CONFIG, tmp_path)
    assert (plain.fill_factor, filled.fill_factor) == (1.0, 2.0)
    np.testing.assert_array_equal(filled.accuracy, [[0.5, 0.6]])
    longer = msgspec.structs.replace(CONFIG.training, rounds=99, stop_at="tfl")
    assert len(load_curves(msgspec.structs.replace(CONFIG, training=longer), tmp_path)) == 2


def test_curves_of_another_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path, devices=3)
    with pytest.raises(DataError, match="measured with devices 3, this run has 2: measure it again"):
        load_curves(CONFIG, tmp_path)
    write(tmp_path, partition=["dirichlet", 9.0, 2, 50])
    with pytest.raises(DataError, match="measured with partition .*9.0.*, this run has .*0.4"):
        load_curves(CONFIG, tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "does not exist; make it with: fimi-server fit-rounds"), ("{}", "is no result of fit-rounds")],
)
def test_no_curves_are_one_sentence(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "rounds.json").write_text(content)
    with pytest.raises(DataError, match=sentence):
        load_curves(CONFIG, tmp_path)
    with pytest.raises(DataError, match="needs plan.rounds"):
        load_curves(msgspec.structs.replace(CONFIG, plan=PlanConfig(target_accuracy=0.5)), tmp_path)


def test_the_choice_survives_its_file() -> None:
    choice = Choice(
        target_accuracy=0.5, candidates=(OutlayRecord(fill_factor=2.0, rounds=1.5, round_j=4.0, total_j=6.0),)
    )
    assert msgspec.json.decode(msgspec.json.encode(choice), type=Choice) == choice
