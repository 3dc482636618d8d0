"""Fits with numbers by hand: the Compute Module 4 as published, and boards whose law is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from firmware_profiles.calibrated import load_calibration
from tests.tools.calibrate.sheets import HEADER, MODULE_IDLE_W, law_line, module_csv, sheet
from tools.calibrate.calibrate import calibrate_text
from tools.calibrate.cli import main
from tools.calibrate.lines import fit_line
from tools.calibrate.models import curve_of
from tools.calibrate.optimum import best_freq_model_hz
from tools.calibrate.profile_file import to_toml


def test_the_compute_module_fits_within_one_percent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "cm4.csv"
    csv.write_text(module_csv())
    assert main(["fit", str(csv), "--json", "--idle-w", str(MODULE_IDLE_W)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["power_mape"] < 0.0065  # 0.6 %, as published
    assert found["time_mape"] < 0.0065
    assert found["energy_mape"] < 0.01
    # J: 526.9 501.4 487.7 486.2 490.7 504.2; 1 % above the least is 491.1
    assert found["best_freq_hz"] == 1950e6
    assert found["flat_range_hz"] == [1800e6, 1950e6, 2000e6]
    # J over idle: 120.6 145.7 174.7 188.8 199.1 222.3
    assert found["best_freq_added_hz"] == 1200e6
    assert found["flat_range_added_hz"] == [1200e6]
    assert 1200e6 < found["best_freq_model_hz"] < 2100e6
    assert found["law"]["power_static_w"] == pytest.approx(2.313, abs=0.01)
    assert found["law"]["kappa_w_per_hz3"] == pytest.approx(0.122e-27, rel=0.02)


def test_without_an_idle_floor_nothing_is_said_of_added_joules() -> None:
    from tools.calibrate.summary import as_json

    found = as_json(calibrate_text(module_csv(), "cm4.csv"))
    assert (found["idle_w"], found["best_freq_added_hz"], found["flat_range_added_hz"]) == (None, None, None)


def test_a_law_is_found_again_and_chosen() -> None:
    found = calibrate_text(sheet(*map(law_line, (0.5, 1.0, 1.5, 2.0))), "law.csv")
    law = found.law
    assert (law.fixed_s_per_sample, law.cycles_per_sample) == pytest.approx((0.5, 1e9))
    assert (law.power_static_w, law.kappa_w_per_hz3) == pytest.approx((2.0, 1e-27))
    assert found.fit.model == "law"
    assert found.fit.held_out.energy_worst < 1e-9
    # 3 * kappa * a * f^4 + 2 * kappa * w * f^3 = P_s * w: in GHz 1.5 f^4 + 2 f^3 = 2
    ghz = best_freq_model_hz(law) / 1e9
    assert 1.5 * ghz**4 + 2 * ghz**3 == pytest.approx(2.0)
    assert best_freq_model_hz(law, idle_w=2.0) == 0.5e9  # over idle, less is always cheaper


def test_repeats_tell_the_uncertainty() -> None:
    """Two windows at 1 GHz, 1 % above and below their mean: s^2 = (0.01^2 + 0.01^2) / (4 - 3), and s / sqrt(2)."""
    lines = [
        law_line(0.5, more=","),
        law_line(2.0, more=","),
        "1000000000,100,148.5,450,1",
        "1000000000,100,151.5,450,2",
    ]
    found = calibrate_text(sheet(*lines, header=HEADER + ",repeat"), "repeats.csv")
    low, middle, _ = found.opp
    assert (middle.windows, middle.samples, middle.s_per_sample) == (2, 200, pytest.approx(1.5))
    assert middle.s_uncertainty == pytest.approx(0.01)
    assert low.s_uncertainty == pytest.approx(0.01 * 2**0.5)
    assert middle.j_uncertainty is None  # all repeats agree to the last digit: that is no measurement of it


def test_the_table_follows_its_points_and_goes_on_as_the_law() -> None:
    """At 0.8 GHz the smooth curve through 2.125, 3 and 10 W: slopes 0 and 4.5 / (2.5 / 1.75 + 2 / 7) = 2.625 W/GHz."""
    found = calibrate_text(sheet(*map(law_line, (0.5, 1.0, 2.0))), "law.csv")
    tau_s, joules = curve_of("table", found.opp)(np.array([0.8e9, 3e9]))
    assert tau_s == pytest.approx([1.75, 0.5 + 1 / 3])
    assert joules == pytest.approx([1.75 * 2.503, (0.5 + 1 / 3) * 29.0])


def test_a_line_by_hand() -> None:
    """y = 1 + 2 x, exact; then a middle point 1 off: the residuals grow the covariance."""
    x = np.array([0.0, 1.0, 2.0])
    exact = fit_line(x, np.array([1.0, 3.0, 5.0]))
    assert (exact.intercept, exact.slope) == pytest.approx((1.0, 2.0))
    assert exact.covariance == pytest.approx(np.zeros((2, 2)), abs=1e-20)
    # weights 1/(u y)^2 = 1 with u = 1/y: y = 1, 4, 5 gives 4/3 + 2 x with residuals -1/3, 2/3, -1/3, so chi2 = 2/3;
    # (X'X)^-1 = [[5, -3], [-3, 3]] / 6
    y = np.array([1.0, 4.0, 5.0])
    off = fit_line(x, y, 1 / y)
    assert (off.intercept, off.slope) == pytest.approx((4 / 3, 2.0))
    assert off.covariance == pytest.approx(np.array([[5, -3], [-3, 3]]) / 6)  # chi2 below 1 does not shrink it
    precise = fit_line(x, y, 0.1 / y)
    assert precise.covariance == pytest.approx(np.array([[5, -3], [-3, 3]]) / 6 * 2 / 3)


def test_no_coefficient_falls_below_zero() -> None:
    flat = fit_line(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.9, 2.8]))
    assert flat.slope == 0.0
    assert flat.covariance[1, 1] == 0.0
    through_zero = fit_line(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5]))
    assert (through_zero.intercept, through_zero.covariance[0, 0]) == (0.0, 0.0)
    assert through_zero.slope > 0


def test_windows_that_do_not_count_are_left_out() -> None:
    lines = [law_line(ghz, more=",,,") for ghz in (0.5, 1.0, 2.0)]
    wrong = [law_line(1.0, 90, ",true,,"), law_line(1.0, 80, ",,true,"), law_line(1.0, 70, ",,,1050000000")]
    found = calibrate_text(sheet(*lines, *wrong, header=HEADER + ",starved,throttled,verified_hz"), "some.csv")
    assert found.origin.rejected == {"starved": 1, "throttled": 1, "mis-clocked": 1}
    assert [opp.windows for opp in found.opp] == [1, 1, 1]


def test_idle_windows_are_the_floor_and_what_is_given_goes_before() -> None:
    lines = [law_line(ghz, more=",") for ghz in (0.5, 1.0, 2.0)]
    text = sheet(*lines, ",0,10,15,true", ",0,10,17,true", header=HEADER + ",idle")
    idle = calibrate_text(text, "idle.csv").idle
    assert idle is not None
    assert (idle.power_w, idle.source, idle.windows) == (pytest.approx(1.6), "measured", 2)
    # 1.5 and 1.7 W: s = 0.1414 W, over the root of two and 1.6 W
    assert idle.uncertainty == pytest.approx(0.1 / 1.6)
    given = calibrate_text(text, "idle.csv", idle_w=1.2).idle
    assert given is not None
    assert (given.power_w, given.source) == (1.2, "given")


def test_the_most_cores_are_fitted_unless_told() -> None:
    lines = [law_line(ghz, more=f",{cores}") for ghz in (0.5, 1.0, 2.0) for cores in (1, 4)]
    text = sheet(*lines, header=HEADER + ",cores")
    assert calibrate_text(text, "cores.csv").cores == 4
    assert calibrate_text(text, "cores.csv", cores=1).cores == 1


def test_a_profile_reads_back_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, out = tmp_path / "cm4.csv", tmp_path / "cm4.toml"
    csv.write_text(module_csv())
    assert main(["fit", str(csv), "--out", str(out), "--idle-w", "1.944"]) == 0
    assert "1950 MHz as measured" in capsys.readouterr().out
    read = load_calibration(out)
    assert read.opp[3].freq_hz == 1950e6
    assert read.opp[3].j_per_sample == pytest.approx(4.86234)
    assert to_toml(read) == out.read_text()
    assert main(["show", str(out)]) == 0
    assert "1.944 W idle (given)" in capsys.readouterr().out


def test_a_profile_is_checked_strictly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.toml"
    text = to_toml(calibrate_text(module_csv(), "cm4.csv"))
    path.write_text(text.replace("power_static_w", "power_static_mw"))
    assert main(["show", str(path)]) == 2
    assert "law.power_static_mw: wrong unit; give `power_static_w` in watts" in capsys.readouterr().err
    path.write_text(text.replace("freq_hz = 1500000000.0", "freq_hz = 1100000000.0"))
    assert main(["show", str(path)]) == 2
    assert "opp: freq_hz is not ascending" in capsys.readouterr().err


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    csv, png = tmp_path / "cm4.csv", tmp_path / "cm4.png"
    csv.write_text(module_csv())
    assert main(["show", str(csv), "--png", str(png), "--idle-w", "1.944"]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert main(["show", str(csv), "--png", str(png)]) == 0
    assert main(["show", str(csv), "--png", str(tmp_path / "no" / "where.png")]) == 2
