"""The audit of a run against its ledgers, on windows worked out by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_client.agent.window import Journal
from edge_client.protocol.messages import EnergyReading, SegmentOutcome
from tools import audit_run
from tools.audit_run import Compared, compare, judged, summary
from tools.boards.ledger import FIELDS, Ledger, Truth


def truth_of(watts: float) -> Truth:
    t = np.array([0.0, 10.0])
    return Truth(unit={}, t=t, columns=dict.fromkeys(FIELDS, watts * t))


def window(start: float, end: float, energy_j: float | None) -> str:
    line = {"kind": "segment", "start": start, "end": end, "energy": {"energy_j": energy_j}}
    return json.dumps(line | {"outcome": {"starved": False}})


def reading(energy_j: float, duration_s: float) -> EnergyReading:
    return EnergyReading(
        energy_j=energy_j, duration_s=duration_s, idle_power_w=None, source="measured", boundary="board",
        meter="ina219", uncertainty=None, samples=10,
    )  # fmt: skip


def outcome(starved: bool | None) -> SegmentOutcome:
    return SegmentOutcome(
        requested_hz=1e9, accepted_hz=1e9, verified_hz=None, violation_s=0.0, samples=8, duration_s=1.0,
        energy=reading(3.0, 1.0), starved=starved, throttled=None,
    )  # fmt: skip


def test_reported_over_true_minus_one() -> None:
    [one] = compare([window(2.0, 4.0, 6.3)], truth_of(3.0))  # 2 s at 3 W are 6 J
    assert (one.kind, one.duration_s, one.starved) == ("segment", 2.0, False)
    assert one.error == pytest.approx(0.05)


def test_unknown_joules_are_not_compared() -> None:
    assert compare([window(2.0, 4.0, None)], truth_of(3.0)) == []


def test_a_client_s_journal_says_of_each_window_whether_it_was_starved(tmp_path: Path) -> None:
    """Written by the client's own journal: a segment says it in its outcome, a task by the segments within it."""
    journal = Journal(tmp_path / "windows.jsonl")
    second = reading(3.0, 1.0)
    journal.write("idle", 0.0, 1.0, second)
    journal.write("profile", 1.0, 2.0, second, freq_hz=1e9, samples=8, starved=True)
    journal.write("profile", 1.0, 2.0, second, freq_hz=2e9, samples=8, starved=None)
    journal.write("segment", 3.0, 4.0, second, run="r", round=1, outcome=outcome(True))
    journal.write("segment", 4.0, 5.0, second, run="r", round=1, outcome=outcome(False))
    journal.write("upload", 5.0, 6.0, second, run="r", round=1, bits=8)
    journal.write("task", 2.0, 6.0, reading(12.0, 4.0), run="r", round=1, outcome="done")
    journal.write("segment", 7.0, 8.0, second, run="r", round=2, outcome=outcome(None))
    journal.write("task", 6.0, 9.0, reading(9.0, 3.0), run="r", round=2, outcome="done")
    found = compare((tmp_path / "windows.jsonl").read_text().splitlines(), truth_of(3.0))
    assert [(one.kind, one.starved) for one in found] == [
        ("idle", False), ("profile", True), ("profile", False), ("segment", True), ("segment", False),
        ("upload", False), ("task", True), ("segment", False), ("task", False),
    ]  # fmt: skip
    assert [one.error for one in found] == pytest.approx([0.0] * 9)


def test_short_and_starved_windows_are_not_judged() -> None:
    assert judged(Compared("segment", 1.0, False, 0.5))
    assert not judged(Compared("segment", 0.9, False, 0.5))
    assert not judged(Compared("segment", 2.0, True, 0.5))


def test_the_table_counts_what_is_beyond_the_limit() -> None:
    found = [
        Compared("segment", 2.0, False, 0.01),
        Compared("segment", 2.0, False, -0.06),
        Compared("segment", 0.5, False, 0.9),
        Compared("segment", 2.0, True, 0.9),
    ]
    assert summary(found).splitlines()[1].split() == ["segment", "4", "1", "1", "-2.5%", "-6.0%", "1"]


@pytest.mark.parametrize(("energy_j", "code"), [(6.1, 0), (6.6, 1)])
def test_the_command_says_whether_all_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, energy_j: float, code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit_run", str(tmp_path)])
    assert audit_run.main() == 2  # no boards
    write_boards(tmp_path / "boards", energy_j)
    assert audit_run.main() == code


def write_boards(folder: Path, energy_j: float) -> None:
    """A board that draws 3 W, and its client's journal of one window of 2 s."""
    state = folder / "b.state"
    state.mkdir(parents=True)
    ledger = Ledger(folder / "b.ledger.jsonl", {"id": "b"})
    for t in (0.0, 10.0):
        ledger.append({"t": t} | dict.fromkeys(FIELDS, 3.0 * t))
    ledger.close()
    (state / "windows.jsonl").write_text(window(2.0, 4.0, energy_j) + "\n")


def test_every_attempt_of_a_run_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit_run", str(tmp_path)])
    write_boards(tmp_path / "boards", 6.6)  # beyond the limit, before the run went on
    write_boards(tmp_path / "boards-2", 6.1)
    (tmp_path / "boards.log").write_text("no folder")
    assert audit_run.main() == 1
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["segment", "2"]
