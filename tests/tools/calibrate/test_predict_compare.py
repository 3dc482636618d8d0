"""Another network from one timing, and two calibrations side by side; numbers by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.board_curve import STALL_SPREAD
from tests.tools.calibrate.sheets import HEADER, law_line, module_csv, sheet
from tools.calibrate.calibrate import calibrate_text
from tools.calibrate.cli import main
from tools.calibrate.compare import differences
from tools.calibrate.errors import CalibrateError
from tools.calibrate.predict import Timing, predict

LAW = calibrate_text(sheet(*map(law_line, (0.5, 1.0, 2.0))), "law.csv", idle_w=1.0)


def test_another_network_keeps_the_share_that_does_not_scale() -> None:
    """At 1 GHz a sample takes 1.5 s and 3 W; the other one 4.5 s, so three times as long at every clock."""
    slow, same, fast = predict(LAW, Timing(10, 45.0, 1e9), [0.5e9, 1e9, 2e9])
    assert (slow.s_per_sample, same.s_per_sample, fast.s_per_sample) == pytest.approx((7.5, 4.5, 3.0))
    assert (slow.j_per_sample, same.j_per_sample, fast.j_per_sample) == pytest.approx((7.5 * 2.125, 13.5, 30.0))
    # at 2 GHz the other share would change the ratio 2/3 by half the spread; the law itself foretells exactly
    assert fast.s_uncertainty == pytest.approx(STALL_SPREAD * 0.5 / (2 / 3))
    assert same.s_uncertainty == pytest.approx(0.0, abs=1e-9)


def test_joules_of_the_timing_scale_what_is_above_idle() -> None:
    """3 W at 1 GHz is 2 over idle; a network that draws 4 W there draws half as much again over idle everywhere."""
    (fast,) = predict(LAW, Timing(10, 45.0, 1e9, energy_j=180.0), [2e9])
    assert fast.j_per_sample == pytest.approx(3.0 * (1.0 + 1.5 * 9.0))
    with pytest.raises(CalibrateError, match="is not above the idle floor of 1 W"):
        predict(LAW, Timing(10, 45.0, 1e9, energy_j=44.0), [2e9])
    with pytest.raises(CalibrateError, match="lies outside of the calibrated"):
        predict(LAW, Timing(10, 45.0, 3e9), [2e9])


def test_the_command_predicts_at_measured_clocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "cm4.csv"
    csv.write_text(module_csv())
    line = ["predict", str(csv), "--samples", "10", "--duration-s", "18.3", "--freq-hz", "1500000000"]
    assert main([*line, "--json"]) == 0
    found = {one["freq_hz"]: one for one in json.loads(capsys.readouterr().out)}
    assert found[2100e6]["s_per_sample"] == pytest.approx(1.45)  # the same network: 1.83 s at 1500 MHz
    assert found[2100e6]["j_per_sample"] == pytest.approx(5.04165)
    assert main([*line, "--at-hz", "1.9e9"]) == 0
    assert "1900" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main([*line[:-1], "1500"])
    assert ended.value.code == 2
    assert "which looks like MHz" in capsys.readouterr().err


def test_differences_against_their_uncertainty() -> None:
    """B needs 3 % more seconds at 1 GHz; both know them to 1 % and 0.01 * sqrt(2) elsewhere."""
    repeats = ["1000000000,100,148.5,449,1", "1000000000,100,151.5,451,2"]
    others = [law_line(ghz, more=",") for ghz in (0.5, 2.0)]
    header = HEADER + ",repeat"
    a = calibrate_text(sheet(*others, *repeats, header=header), "a.csv")
    slower = [line.replace("148.5", "152.955").replace("151.5", "156.045") for line in repeats]
    b = calibrate_text(sheet(*others, *slower, header=header), "b.csv")
    low, middle, _ = differences(a, b)
    assert middle.seconds == pytest.approx(0.03)
    assert middle.seconds_sigmas == pytest.approx(0.03 / (0.01 * 2**0.5))
    assert (low.seconds, low.joules) == (0.0, 0.0)
    c = calibrate_text(sheet(*map(law_line, (0.6, 1.1, 1.9))), "c.csv")
    with pytest.raises(CalibrateError, match=r"a\.csv and c\.csv have no clock in common"):
        differences(a, c)


def test_the_command_compares_profiles_and_csvs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, toml = tmp_path / "a.csv", tmp_path / "a.toml"
    csv.write_text(module_csv())
    assert main(["fit", str(csv), "--out", str(toml)]) == 0
    capsys.readouterr()
    assert main(["compare", str(csv), str(toml)]) == 0
    assert "A: cheapest at 1950 MHz; within 1 %: 1800, 1950, 2000 MHz" in capsys.readouterr().out
    assert main(["compare", str(csv), str(toml), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best_freq_hz"] == [1950e6, 1950e6]
