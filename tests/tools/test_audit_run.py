"""The audit of a run against its ledgers, on windows worked out by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tools import audit_run
from tools.audit_run import Compared, compare, judged, summary
from tools.boards.ledger import FIELDS, Ledger, Truth


def truth_of(watts: float) -> Truth:
    t = np.array([0.0, 10.0])
    return Truth(unit={}, t=t, columns=dict.fromkeys(FIELDS, watts * t))


def window(start: float, end: float, energy_j: float | None, **more: object) -> str:
    return json.dumps({"kind": "segment", "start": start, "end": end, "energy": {"energy_j": energy_j}, **more})


def test_reported_over_true_minus_one() -> None:
    [one] = compare([window(2.0, 4.0, 6.3)], truth_of(3.0))  # 2 s at 3 W are 6 J
    assert (one.kind, one.duration_s, one.starved) == ("segment", 2.0, False)
    assert one.error == pytest.approx(0.05)


def test_unknown_joules_are_not_compared() -> None:
    assert compare([window(2.0, 4.0, None)], truth_of(3.0)) == []


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
