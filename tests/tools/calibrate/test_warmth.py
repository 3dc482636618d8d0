"""How a board warms up, found again from windows that were made with known numbers."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_profiles.calibrated import Calibration
from tools.calibrate.calibrate import calibrate
from tools.calibrate.cli import main
from tools.calibrate.errors import CalibrateError
from tools.calibrate.predict import Timing, Warmth, predict, settles_c, timing_freq_hz, watts
from tools.calibrate.profile_file import write_profile
from tools.calibrate.rows import Row
from tools.calibrate.summary import as_json, as_text
from tools.calibrate.warmth import fit_warmth

AMBIENT_C, RESISTANCE, TAU_S, SLOPE = 25.0, 8.0, 60.0, 0.02


def rows(slope: float = SLOPE, repeats: int = 3) -> list[Row]:
    """Windows of 60 s in random order: 2 W + 1e-27 f^3 at 50 C, a sample takes 0.5 s + 1e9 / f."""
    cells = [ghz for ghz in (0.5, 1.0, 1.5, 2.0) for _ in range(repeats)]
    random.Random(3).shuffle(cells)
    found, now_c = [], 30.0
    for line, ghz in enumerate(cells, start=2):
        start_c, joules = now_c, 0.0
        for _ in range(600):
            power_w = 2.0 + ghz**3 / 2 + slope * (now_c - 50.0)
            joules += power_w * 0.1
            now_c += (AMBIENT_C + RESISTANCE * power_w - now_c) * 0.1 / TAU_S
        samples = round(60 / (0.5 + 1 / ghz) * 100)
        found.append(
            Row(line, ghz * 1e9, samples, 60.0, joules, repeat=line, temperature_start_c=start_c, temperature_c=now_c)
        )
        for _ in range(50):  # a pause at 2 W
            now_c += (AMBIENT_C + RESISTANCE * 2.0 - now_c) * 0.1 / TAU_S
    return found


def calibration(slope: float = SLOPE) -> Calibration:
    return calibrate(rows(slope), "warm.csv", "0" * 64, idle_w=1.0)


def test_the_law_is_found_again() -> None:
    found = calibration().thermal
    assert found is not None
    assert found.ambient_c == pytest.approx(AMBIENT_C, abs=0.5)
    assert found.resistance_c_per_w == pytest.approx(RESISTANCE, rel=0.02)
    assert found.time_constant_s == pytest.approx(TAU_S, rel=0.03)
    assert found.w_per_c == pytest.approx(SLOPE, rel=0.03)


def test_a_board_that_leaks_nothing_has_no_slope() -> None:
    found = calibration(slope=0.0).thermal
    assert found is not None
    assert found.w_per_c == 0.0


def test_watts_at_another_warmth_and_where_it_settles() -> None:
    """At 2 GHz, settled: P = 6 + 0.02 (25 + 8 P - 50), P = 5.5 / 0.84 = 6.55 W, and 25 + 8 P = 77.4 C."""
    found = calibration()
    settled_w = 5.5 / 0.84
    assert watts(found, [2e9], Warmth(30.0)) == pytest.approx([settled_w], rel=0.01)
    (*_, top_c) = settles_c(found) or ()
    assert top_c == pytest.approx(AMBIENT_C + RESISTANCE * settled_w, abs=1.0)
    # a second of work at 30 C has the watts of 30 C
    assert watts(found, [2e9], Warmth(30.0, 1.0)) == pytest.approx([6.0 - 0.02 * 20], rel=0.01)


def test_a_metered_timing_counts_the_warmth_it_was_taken_at() -> None:
    """A network that draws what the swept one does, timed on a cold board, is foretold the watts of the sweep."""
    found = calibration()
    cold_w = float(watts(found, [1.5e9], Warmth(25.0, 60.0))[0])
    timing = Timing(50, 60.0, 1.5e9, energy_j=60 * cold_w, start_c=25.0)
    (one,) = predict(found, timing, [2e9])
    assert one.j_per_sample / one.s_per_sample == pytest.approx(float(watts(found, [2e9])[0]), rel=1e-6)
    (naive,) = predict(found, replace(timing, start_c=None), [2e9])
    assert naive.j_per_sample < 0.98 * one.j_per_sample


def test_what_cannot_be_told_is_not_told() -> None:
    good = rows()
    assert fit_warmth(good[:7]) is None  # too few
    assert fit_warmth([replace(row, temperature_c=None) for row in good]) is None
    assert fit_warmth([replace(row, temperature_start_c=60.0, temperature_c=60.5) for row in good]) is None  # no range
    noise = random.Random(0)
    random_ends = [replace(row, temperature_c=noise.uniform(30, 70)) for row in good]
    assert fit_warmth(random_ends) is None
    without = calibrate([replace(row, temperature_c=None) for row in good], "x.csv", "0" * 64)
    assert without.thermal is None and settles_c(without) is None
    with pytest.raises(CalibrateError, match="does not tell how the board warms up; leave --start-c out"):
        watts(without, [1e9], Warmth(30.0))


def test_the_clock_to_time_at_is_where_both_ends_are_equally_uncertain() -> None:
    """tau = 0.5 + 1/f from 0.5 to 2 GHz: timed at f, the ends miss (1 - f/2) / (1 / tau) and (f/0.5 - 1) / (2.5 / tau)
    spreads; equal at f = 3.5 / 3.25."""
    assert timing_freq_hz(calibration(slope=0.0)) == pytest.approx(3.5e9 / 3.25, rel=0.01)


def test_the_command_shows_and_takes_warmth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "warm.toml"
    write_profile(profile, calibration())
    assert main(["show", str(profile)]) == 0
    shown = capsys.readouterr().out
    assert "°C/W from 25.1 °C" in shown and "a degree more costs 20" in shown and "at 2000 MHz" in shown
    line = ["predict", str(profile), "--samples", "50", "--duration-s", "60", "--freq-hz", "1e9", "--json"]
    assert main([*line, "--start-c", "30", "--at-hz", "2e9"]) == 0
    settled = json.loads(capsys.readouterr().out)[0]
    assert main([*line, "--start-c", "30", "--for-s", "1", "--at-hz", "2e9"]) == 0
    cold = json.loads(capsys.readouterr().out)[0]
    assert settled["j_per_sample"] / cold["j_per_sample"] == pytest.approx(5.5 / 0.84 / 5.6, rel=0.02)
    assert main([*line, "--for-s", "5"]) == 2
    assert "--for-s says nothing without --start-c" in capsys.readouterr().err


def test_a_board_that_gets_too_hot_is_warned_of() -> None:
    hot = [replace(row, energy_j=1.5 * row.energy_j) for row in rows(slope=0.0)]
    warmer = [
        replace(row, temperature_c=row.temperature_c + (1 - math.exp(-1)) * 8 * row.power_w / 3)
        for row in hot
        if row.temperature_c is not None
    ]
    found = calibrate(warmer, "hot.csv", "0" * 64)
    settled = as_json(found)["settles_c"]
    assert settled[-1] == pytest.approx(25 + 8 * 9.0, abs=2.0)
    assert "from 2000 MHz on it settles above 80 °C: expect it to throttle" in as_text(found, "hot.csv")
