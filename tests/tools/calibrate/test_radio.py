"""Uploads with numbers by hand: P = 3 W + p / 0.25, idle at 2 W."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.calibrate.sheets import sheet
from tools.calibrate.cli import main

HEADER = "tx_power_w,bytes,duration_s,energy_j,frames,idle"
LEVELS = ["0.05,1000000,10,32,800,", "0.1,1000000,8,27.2,800,", "0.2,1000000,5,19,800,"]  # 3.2, 3.4, 3.8 W


def run(tmp_path: Path, text: str, *more: str) -> int:
    (tmp_path / "up.csv").write_text(text)
    return main(["radio", str(tmp_path / "up.csv"), *more])


def test_efficiency_and_overhead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, sheet(*LEVELS, ",0,10,20,,true", header=HEADER), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["power_static_w"] == pytest.approx(3.0)
    assert found["amplifier_efficiency"] == pytest.approx(0.25)
    assert (found["idle_w"], found["overhead_w"]) == (pytest.approx(2.0), pytest.approx(1.0))
    top = found["levels"][2]
    assert (top["j_per_byte"], top["added_j_per_byte"]) == (pytest.approx(19e-6), pytest.approx(9e-6))
    assert (top["j_per_frame"], top["bits_per_s"]) == (pytest.approx(19 / 800), pytest.approx(1.6e6))
    assert run(tmp_path, sheet(*LEVELS, header=HEADER)) == 0
    assert "P = 3 W + p / 0.25" in capsys.readouterr().out


def test_a_radio_that_ignores_its_level_has_no_efficiency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = sheet("0.1,1000,1,3,,", "0.2,1000,1,2.9,,", header=HEADER)
    assert run(tmp_path, text, "--json") == 0
    assert json.loads(capsys.readouterr().out)["amplifier_efficiency"] is None
    assert run(tmp_path, text) == 0
    assert "watts do not rise with the level" in capsys.readouterr().out


def test_bad_uploads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, sheet("0.1,0,1,3,,", header=HEADER)) == 2
    assert "line 2: bytes is blank or 0" in capsys.readouterr().err
    assert run(tmp_path, sheet(LEVELS[0], ",1000,1,3,,", header=HEADER)) == 2
    assert "line 3: tx_power_w is blank" in capsys.readouterr().err
    assert run(tmp_path, "bytes,duration_s\n1,1\n") == 2
    assert "the column energy_j is missing" in capsys.readouterr().err
