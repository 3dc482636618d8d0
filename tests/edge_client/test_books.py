"""The idle floor that outlives a client, and the journal of windows: neither ends work where it cannot be written."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_client.accounting import unavailable
from edge_client.agent import window
from edge_client.agent.books import IdleFloor
from edge_client.agent.window import Journal
from edge_client.hardware.interfaces import MeterInfo

BOARD = MeterInfo("ina3221", "board", 0.05)


def test_the_floor_is_kept_for_the_meter_that_saw_it(tmp_path: Path) -> None:
    path = tmp_path / "idle.json"
    assert IdleFloor(path, BOARD).read() is None
    IdleFloor(path, BOARD).keep(1.25)
    assert IdleFloor(path, BOARD).read() == 1.25
    assert IdleFloor(path, MeterInfo("tasmota", "wall", 0.05)).read() is None  # watts at the wall are another floor
    assert IdleFloor(path, None).read() is None
    IdleFloor(path, None).keep(9.0)
    IdleFloor(path, BOARD).keep(None)
    assert IdleFloor(path, BOARD).read() == 1.25


def test_a_file_of_another_version_is_no_floor(tmp_path: Path) -> None:
    path = tmp_path / "idle.json"
    path.write_text("2.5")
    assert IdleFloor(path, BOARD).read() is None


def test_a_floor_that_cannot_be_written_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    IdleFloor(tmp_path / "gone" / "idle.json", BOARD).keep(1.25)
    assert "the idle floor could not be noted" in caplog.text


def note(journal: Journal, *starts: float) -> None:
    for start in starts:
        journal.write("idle", start, start + 1.0, unavailable(1.0, "none", None))


def test_a_journal_that_cannot_be_written_fails_no_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk, or somebody who has tidied up."""
    folder = tmp_path / "state"
    journal = Journal(folder / "windows.jsonl")
    (folder / "windows.jsonl").unlink()
    folder.rmdir()
    note(journal, 1.0, 2.0)
    assert caplog.text.count("windows are not noted there until that is mended") == 1
    folder.mkdir()
    note(journal, 3.0)
    assert len((folder / "windows.jsonl").read_text().splitlines()) == 1


def test_the_journal_keeps_the_latest_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_JOURNAL_BYTES", 1000)
    journal = Journal(tmp_path / "windows.jsonl")
    note(journal, *map(float, range(100)))
    kept = b"".join((tmp_path / f"windows.{end}").read_bytes() for end in ("old", "jsonl"))
    starts = [msgspec.json.decode(line)["start"] for line in kept.splitlines()]
    assert starts == list(range(int(starts[0]), 100))
    assert len(kept) < 3000
