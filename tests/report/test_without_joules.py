"""Reports of runs in which devices have no joules: a dash, and sums that say of how many devices they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from server.records import OwnPace
from server.report import build_report, metrics, tables
from server.report.load import load_run
from server.run_dir import CalibrationUse, PlannedWork, RunDir, StrategyPlan
from tests.report import run_directory as small

USED = CalibrationUse(why="2 clocks were measured, 4 come from its calibration")
CONFIG = small.CONFIG.replace('strategy = ["tfl", "fimi"]', 'strategy = ["tfl"]')


def write_run(path: Path, *blind: str) -> Path:
    """The small run's tfl with devices that have no joules, each planned beside the others."""
    small.write_run(path, config=CONFIG)
    folder = RunDir(path)
    folder.save("devices.json", tuple(small.enrolled(device, metered=device not in blind) for device in "ab"))
    whole = small.strategy_plan("tfl")
    kept = tuple(device for device in whole.plan.devices if device.id not in blind)
    own = tuple(OwnPace(id=device, samples=40, compute_s=16.0, upload_s=1.0) for device in blind)
    record = replace(whole.plan, devices=kept)
    folder.save_plan(
        StrategyPlan(strategy="tfl", round_s=20.0, target_error=None, plan=record, certified=False, unplanned=own)
    )
    (path / "rounds-tfl.jsonl").unlink()
    for number in range(1, 6):
        one = small.record("tfl", number, number)
        joules = {device: None if device in blind else small.ADDED_J["tfl"] for device in "ab"}
        unknown = PlannedWork(compute_j=None, upload_j=None, compute_s=16.0, upload_s=1.0, samples=40)
        small.append(
            path,
            "tfl",
            msgspec.structs.replace(
                one,
                updates=tuple(small.update(device, number, j, starved=False) for device, j in joules.items()),
                closed=tuple(small.closed(device, number, j) for device, j in joules.items()),
                planned={**one.planned, **dict.fromkeys(blind, unknown)},
            ),
        )
    return path


def test_sums_say_of_how_many_devices_they_are(tmp_path: Path) -> None:
    """Five rounds of a's 50 J added and 2 W of idle floor for 20 s; of b nothing is known."""
    data = load_run(write_run(tmp_path / "r", "b"))
    (run,) = data.strategies
    summary = metrics.summarise(run, metrics.common_accuracy(data.strategies))
    assert (summary.energy_added_j, summary.energy_board_j) == (None, None)
    assert (summary.known_added_j, summary.known_board_j) == (5 * 50, 5 * (50 + 2 * 20))
    assert (summary.devices, summary.devices_with_joules) == (2, 1)
    assert summary.joules_by_device["b"] == (None, None)
    row = tables.totals({"tfl": summary}).rows[0]
    assert row[:5] == ("tfl", "250 (1 of 2 devices)", "450 (1 of 2 devices)", "–", "–")
    headline = tables.headline({"tfl": summary}, 0.5, compare=True).rows[0]
    assert headline[1:5] == ("–", "–", "–", "–")
    assert tables.plans(data).rows[0][1] == "–"
    assert tables.work({"tfl": summary}).rows[1] == ("tfl / b", "–", "–", "–", "–")
    assert tables.devices(data).rows[1][3:] == ("none (unavailable)", "–")
    assert any(note.startswith("No power could be measured on b: their joules are not known") for note in data.notes)
    assert run.loop is not None
    assert {miss.device for miss in run.loop.misses} <= {"a"}


@pytest.mark.parametrize("blind", ["b", "ab"])
def test_the_whole_report_is_written(tmp_path: Path, blind: str) -> None:
    path = write_run(tmp_path / "r", *blind)
    report = build_report(path)
    found = report["strategies"]["tfl"]
    assert (found["energy_added_j"], found["measured_j"], found["planned_j"]) == (None, None, None)
    assert found["devices_with_joules"] == 2 - len(blind)
    assert found["known_added_j"] == (250 if blind == "b" else None)
    page = (path / "report.html").read_text()
    assert ("250 (1 of 2 devices)" in page) == (blind == "b")
    assert ">nan" not in page
    assert " nan " not in page


def test_joules_of_a_model_and_a_calibration_are_called_so(tmp_path: Path) -> None:
    folder = RunDir(small.write_run(tmp_path / "r"))
    a, b = folder.devices()
    able = msgspec.structs.replace(b.join.capabilities, meter="calibration", meter_source="modelled")
    b = msgspec.structs.replace(b, join=msgspec.structs.replace(b.join, capabilities=able))
    a = msgspec.structs.replace(a, calibration=USED)
    folder.save("devices.json", (a, b))
    notes = load_run(folder.path).notes
    assert "The joules of b come from a model of load and clock, not from a meter." in notes
    assert "a: 2 clocks were measured, 4 come from its calibration." in notes
