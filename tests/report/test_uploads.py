"""Each device's uploads beside their plan: numbers by hand, and dashes for what nobody knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from server.report import build_report, tables, uploads
from server.report.load import load_run
from server.report.metrics import summarise, uncertainty_by_device
from server.report.uploads import UploadSummary
from server.report.values import StrategyRun, UploadRow
from tests.report import run_directory as small


@pytest.fixture
def tfl(tmp_path: Path) -> StrategyRun:
    return load_run(small.write_run(tmp_path / "small-1")).strategies[0]


def test_five_uploads_of_8000_bits_in_a_second_each(tfl: StrategyRun) -> None:
    found = uploads.uploads_by_device(tfl)
    assert found["a"] == UploadSummary(
        uploads=5,
        planned_s=1.0,
        measured_s=1.0,
        planned_bits_per_s=8000.0,
        requested_bits_per_s=9000.0,
        measured_bits_per_s=8000.0,
        share="paced",
        tx_requested_w=0.1,
        tx_accepted_w=pytest.approx(0.08),
        tx_capability="accepted_unverified",
        signal_dbm=-61.0,
        link_bits_per_s=72e6,
        airtime_s=0.25,
        interface_bytes=1500.0,
    )
    assert (found["b"].share, found["b"].signal_dbm, found["b"].tx_capability) == ("none", None, "unsupported")


def row(**odd: object) -> UploadRow:
    known = UploadRow(
        bits=1000, seconds=1.0, planned_s=1.0, planned_bits_per_s=1000.0, requested_bits_per_s=None, share="none",
        tx_requested_w=None, tx_accepted_w=None, tx_capability="unsupported", signal_dbm=-60.0, link_bits_per_s=None,
        airtime_s=None, interface_bytes=None,
    )  # fmt: skip
    return replace(known, **odd)


def test_means_are_over_what_is_known_and_rates_over_all_seconds() -> None:
    """1000 bits in 1 s and 1000 in 3 s are 500 bit/s."""
    found = uploads.summarise([row(), row(seconds=3.0, signal_dbm=None, planned_s=None, share="htb")])
    assert (found.measured_s, found.measured_bits_per_s) == (2.0, 500.0)
    assert (found.signal_dbm, found.planned_s, found.share) == (-60.0, 1.0, "none, htb")
    assert uploads.summarise([row(seconds=0.0)]).measured_bits_per_s is None


def test_the_table_has_a_dash_for_what_is_not_known(tfl: StrategyRun) -> None:
    table = uploads.table([tfl])
    assert table is not None
    a, b = table.rows
    assert a == (
        "tfl / a", "1.0 → 1.0", "0.008 → 0.008", "paced", "0.100 → 0.080, unverified", "-61", "72", "0.25", "0.0015",
    )  # fmt: skip
    assert b == ("tfl / b", "1.0 → 1.0", "0.008 → 0.008", "none", "–, cannot be set", "–", "–", "–", "–")
    assert len(table.header) == len(a)
    assert uploads.table([]) is None


def test_page_and_json_have_them(tmp_path: Path) -> None:
    path = small.write_run(tmp_path / "small-1")
    build_report(path)
    report = json.loads((path / "report.json").read_text())
    assert report["uploads"]["fimi"]["b"]["tx_requested_w"] is None
    assert report["uploads"]["tfl"]["a"]["measured_bits_per_s"] == 8000.0
    assert "Uploads, means over the updates that came" in (path / "report.html").read_text()


def test_measured_joules_say_by_how_much_they_may_be_off(tfl: StrategyRun, tmp_path: Path) -> None:
    """A meter good to 2 %: of 40 J over idle and 32 J of idling in 16 s, and of 5 J and 2 J in 1 s, five times."""
    assert uncertainty_by_device(tfl) == {"a": pytest.approx(5 * 0.02 * 79), "b": pytest.approx(5 * 0.02 * 79)}
    shown = tables.work({"tfl": summarise(tfl, 0.6)}).rows[0]
    assert shown == ("tfl / a", "210.0", "225.0", "7.9", "1.07")
    blind = load_run(small.write_run(tmp_path / "r", metered=False)).strategies[0]
    assert uncertainty_by_device(blind)["b"] is None
