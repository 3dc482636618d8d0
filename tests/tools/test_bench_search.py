"""tools.bench_search: goes on where it was interrupted, and says what lies under the bound."""

from __future__ import annotations

import msgspec
import pytest

from tools import bench_search
from tools.bench_search import Row, _thinned, main, table


def test_an_interrupted_bench_goes_on(tmp_path, monkeypatch, capsys):
    rows = tmp_path / "rows.jsonl"
    monkeypatch.setattr(bench_search, "SMALL", 3)
    asked = ["bench_search", "--rows", str(rows), "--evaluations", "200", "--small", "1", "--large", "0"]
    monkeypatch.setattr("sys.argv", [*asked, "--png", str(tmp_path / "gap.png")])
    assert main() == 0
    first = capsys.readouterr()
    assert len(first.err.splitlines()) == len(bench_search.METHODS)
    assert (tmp_path / "gap.png").read_bytes().startswith(b"\x89PNG")
    rows.write_bytes(rows.read_bytes()[:-20])  # the last line is cut off
    assert main() == 0
    again = capsys.readouterr()
    assert again.err.startswith("1 of 1: fleet 0 of 3 devices, ce, plain: ")
    assert main() == 0
    assert capsys.readouterr().err == ""


def test_below_the_bound_is_an_error(tmp_path, monkeypatch, capsys):
    rows = tmp_path / "rows.jsonl"
    under = [Row(20, 0, method, 10, 99.0, 100.0, 1.0) for method in bench_search.METHODS]
    rows.write_bytes(b"\n".join(msgspec.json.encode(row) for row in under))
    monkeypatch.setattr("sys.argv", ["b", "--rows", str(rows), "--evaluations", "10", "--small", "1", "--large", "0"])
    assert main() == 1
    assert "ga on fleet 0 of 20 devices lies 1.0e-02 under the lower bound" in capsys.readouterr().out


def test_the_table_has_medians_and_worst():
    rows = [
        Row(20, seed, "ce", 10, 100.0 + gap, 100.0, 2.0, 0.25, 10, [(1, 120.0), (5 + seed, 100.0 + gap)])
        for seed, gap in enumerate((1e-5, 0.05, 1e-3))
    ]
    line = table(rows).splitlines()[-1]
    assert line.split() == ["ce", "1.0e-05,", "5.0e-04", "25.0%,", "25.0%", "2.00,", "2.00", "6", "1", "of", "3"]
    none = Row(20, 0, "ce, plain", 10, None, 100.0, 2.0, 1.0, 10)
    assert table([none]).splitlines()[-1].split()[2:4] == ["none,", "none"]


@pytest.mark.parametrize(("count", "kept"), [(3, 3), (150, 150)])
def test_short_histories_are_kept_whole(count, kept):
    assert len(_thinned([(i, 1.0) for i in range(count)])) == kept
    assert _thinned([(i, 1.0) for i in range(10_000)])[-1] == (9999, 1.0)
