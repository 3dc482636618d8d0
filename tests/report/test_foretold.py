"""The whole training as foretold beside what it took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.outlay import Choice, OutlayRecord
from server.report.build import build_report
from server.report.foretold import foretold, reached
from server.report.load import load_run
from server.run_dir import RunDir
from tests.report.run_directory import write_run


def with_outlay(path: Path, target: float, *, metered: bool = True) -> Path:
    run = write_run(path, metered=metered)
    candidates = (
        OutlayRecord(fill_factor=2.0, rounds=2.0, round_j=100.0, total_j=200.0),
        OutlayRecord(fill_factor=1.0, rounds=5.0, round_j=80.0, total_j=400.0),
    )
    RunDir(run).save("outlay.json", Choice(target_accuracy=target, candidates=candidates))
    return run


def test_rounds_and_joules_to_the_target_by_hand(tmp_path: Path) -> None:
    """fimi goes 0.4, 0.6: half way at 0.5. A task of 60 J over idle has nine tenths in training and upload; two tasks
    a round. tfl goes 0.2, 0.3, 0.4, 0.5 with tasks of 50 J."""
    run = with_outlay(tmp_path / "run", 0.5)
    build_report(run)
    report = json.loads((run / "report.json").read_text())["outlay"]
    assert report["target_accuracy"] == 0.5
    assert [one["fill_factor"] for one in report["candidates"]] == [2.0, 1.0]
    assert report["strategies"]["fimi"] == pytest.approx({"rounds": 1.5, "work_j": 162.0, "added_j": 180.0})
    assert report["strategies"]["tfl"] == pytest.approx({"rounds": 4.0, "work_j": 360.0, "added_j": 400.0})
    assert "as foretold and as measured" in (run / "report.html").read_text()


def test_the_table_by_hand(tmp_path: Path) -> None:
    table = foretold(load_run(with_outlay(tmp_path / "run", 0.5)))
    assert table is not None
    assert table.rows == (
        ("foretold, 2 times the data (chosen)", "2.0", "100.0", "200", "–"),
        ("foretold, 1 times the data (not taken)", "5.0", "80.0", "400", "–"),
        ("measured, tfl", "4.0", "90.0", "360", "1.80"),
        ("measured, fimi", "1.5", "108.0", "162", "0.81"),
    )


def test_a_target_never_reached_and_joules_unknown(tmp_path: Path) -> None:
    data = load_run(with_outlay(tmp_path / "run", 0.7, metered=False))
    tfl, fimi = data.strategies
    assert (reached(tfl, 0.7).rounds, reached(tfl, 0.7).work_j) == (None, None)
    assert reached(fimi, 0.7).rounds == pytest.approx(3.0)
    assert reached(fimi, 0.7).work_j is None
    table = foretold(data)
    assert table is not None
    assert table.rows[-2:] == (("measured, tfl", "never", "–", "–", "–"), ("measured, fimi", "3.0", "–", "–", "–"))


def test_without_a_target_nothing_was_foretold(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert build_report(run)["outlay"] is None
    assert foretold(load_run(run)) is None
