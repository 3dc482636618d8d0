"""The idle floor that outlives a client."""

from __future__ import annotations

from pathlib import Path

from edge_client.agent.books import IdleFloor
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
