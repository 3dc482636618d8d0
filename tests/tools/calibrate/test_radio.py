"""Uploads with numbers by hand: P = 3 W + p / 0.25, idle at 2 W."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from firmware_profiles.calibrated import RadioProfile, load_calibration, load_profile_file
from tests.tools.calibrate.sheets import law_line, module_csv, sheet
from tools.calibrate.cli import main
from tools.calibrate.planes import fit_plane
from tools.calibrate.radio import calibrate_radio

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


# P0 = 0.5 W over 2 W idle, 1 / efficiency = 4 W/W, 1 mJ a frame: 2.5 + 4 p watts, and 10 s of 100 or 400
# frames a second at 50 mW: 2.7 * 10 + 1 = 28 J, 2.7 * 10 + 4 = 31 J; at 100 mW 30 and 33 J; at 200 mW 34 and 37 J
FRAMES = [
    "0.05,1000000,10,28,1000,", "0.05,400000,10,31,4000,", "0.1,1000000,10,30,1000,", "0.1,400000,10,33,4000,",
    "0.2,1000000,10,34,1000,", "0.2,400000,10,37,4000,", ",0,10,20,,true",
]  # fmt: skip


def test_a_cost_per_frame_is_told_where_frames_a_second_differ_at_one_level() -> None:
    found = calibrate_radio(sheet(*FRAMES, header=HEADER), "up.csv")
    assert found.overhead_w == pytest.approx(0.5)
    assert found.amplifier_efficiency == pytest.approx(0.25)
    assert found.frame_energy_j == pytest.approx(1e-3)
    assert (found.power_static_w, found.seconds) == (pytest.approx(2.5), "duration")
    assert found.fit.held_out_with_frames == pytest.approx(0.0, abs=1e-9)
    assert found.fit.held_out is not None and found.fit.held_out > 0.02
    # sizes are told apart: 1000 and 100 bytes a frame
    assert [(one.tx_power_w, one.payload_bytes) for one in found.level] == [
        (0.05, 100.0), (0.05, 1000.0), (0.1, 100.0), (0.1, 1000.0), (0.2, 100.0), (0.2, 1000.0),
    ]  # fmt: skip
    assert found.level[0].added_j_per_byte == pytest.approx(11 / 400_000)


def test_frames_that_go_with_the_level_tell_no_cost_per_frame() -> None:
    found = calibrate_radio(sheet(*LEVELS, header=HEADER), "up.csv")  # 80, 100 and 160 a second
    assert found.frame_energy_j is None
    assert found.no_frame_energy is not None and found.no_frame_energy.startswith("frames a second are alike at each")
    assert found.level[0].j_per_frame == pytest.approx(32 / 800)
    bare = [line.replace(",800,", ",,") for line in LEVELS]
    assert calibrate_radio(sheet(*bare, header=HEADER), "up.csv").no_frame_energy == "not every window says its frames"


def test_frames_that_cost_nothing_stay_out() -> None:
    """2.5 + 4 p watts whatever the frames, and a meter that is a per cent off now and then."""
    text = sheet(
        "0.05,1000000,10,27.2,1000,", "0.05,400000,10,26.9,4000,", "0.1,1000000,10,29.1,1000,",
        "0.1,400000,10,28.9,4000,", "0.2,1000000,10,32.8,1000,", "0.2,400000,10,33.2,4000,", header=HEADER,
    )  # fmt: skip
    found = calibrate_radio(text, "up.csv")
    assert found.frame_energy_j is None
    assert found.no_frame_energy is not None and found.no_frame_energy.startswith("windows left out are foretold no")
    assert found.amplifier_efficiency == pytest.approx(0.25, rel=0.05)


def test_uncertainty_by_hand() -> None:
    """Two windows a level, 1 % apart: 2.97 and 3.03 W at 0 W, 3.96 and 4.04 W at 0.25 W: four windows, two terms.

    Each is 1 % off its mean, which is weight 1 / (0.01 y): chi2 = 4 over a freedom of 2, so sigma^2 = 2 (0.01 y)^2 of a
    window, (0.01 y)^2 of a level: 0.03 W at 0 W, 0.04 W at 0.25 W, and 0.05 W of their difference, 1 W. Windows weigh
    by 1 / y^2, which moves a level's mean by 1e-4 of it.
    """
    text = sheet("0,1000,1,2.97,,", "0,1000,1,3.03,,", "0.25,1000,1,3.96,,", "0.25,1000,1,4.04,,", header=HEADER)
    found = calibrate_radio(text, "up.csv")
    assert found.amplifier_efficiency == pytest.approx(0.25, rel=1e-3)
    assert found.efficiency_uncertainty == pytest.approx(0.05, rel=1e-2)
    assert found.overhead_uncertainty_w == pytest.approx(0.03, rel=1e-2)
    # deviations of 1 % each, pooled: sqrt(4 * 0.01^2 / 2) = 1.41 % a window, 1 % of a mean of two
    assert found.level[0].w_uncertainty == pytest.approx(0.01)


def test_watts_are_drawn_for_the_seconds_on_the_air() -> None:
    """2 W idle; 10 s with 2, 5 and 8 s on the air at 3 + 4 p watts above it."""
    header = "tx_power_w,bytes,duration_s,energy_j,airtime_s"
    text = sheet("0.25,1000,10,28,2", "0.25,1000,10,40,5", "0.5,1000,10,60,8", header=header)  # 4 W and 5 W on the air
    found = calibrate_radio(text, "up.csv", idle_w=2.0)
    assert (found.seconds, found.overhead_w) == ("airtime", pytest.approx(3.0))
    assert found.amplifier_efficiency == pytest.approx(0.25)
    assert calibrate_radio(text, "up.csv").seconds == "duration"  # without a floor the pauses' watts are not known


def test_an_amplifier_that_gives_more_than_it_takes_is_not_believed() -> None:
    found = calibrate_radio(sheet("0.1,1000,1,3,,", "0.2,1000,1,3.05,,", header=HEADER), "up.csv")
    assert found.amplifier_efficiency is None
    assert (
        found.no_efficiency == "0.5 W drawn for each W radiated, which no amplifier can; does the card heed its level?"
    )


def test_windows_that_were_rejected_are_left_out_and_counted() -> None:
    header = "tx_power_w,bytes,duration_s,energy_j,rejected"
    found = calibrate_radio(sheet("0.1,1000,1,3,", "0.2,1000,1,9,not_accepted", header=header), "up.csv")
    assert (found.origin.windows, found.origin.rejected) == (1, {"not_accepted": 1})
    assert found.no_efficiency == "there is one level only; measure at two or more"


def test_a_profile_holds_uploads_beside_the_sweep_and_keeps_both(tmp_path: Path) -> None:
    (tmp_path / "cm4.csv").write_text(module_csv())
    profile = tmp_path / "p.toml"
    assert run(tmp_path, sheet(*FRAMES, header=HEADER), "--out", str(profile)) == 0
    alone = load_profile_file(profile)
    assert isinstance(alone, RadioProfile)
    assert alone.radio == calibrate_radio(sheet(*FRAMES, header=HEADER), "up.csv")
    assert main(["fit", str(tmp_path / "cm4.csv"), "--out", str(profile)]) == 0
    both = load_calibration(profile)
    assert both.radio == alone.radio
    assert run(tmp_path, sheet(*LEVELS, header=HEADER), "--out", str(profile)) == 0
    again = load_calibration(profile)
    assert again.radio != both.radio and again.opp == both.opp


def test_another_board_s_profile_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile, header = tmp_path / "p.toml", "bytes,duration_s,energy_j,board"
    assert run(tmp_path, sheet("1000,1,3,Pi", header=header), "--out", str(profile)) == 0
    (tmp_path / "s.csv").write_text(sheet(*(law_line(ghz, more=",Nano") for ghz in (1, 1.5, 2)),
                                          header="freq_hz,samples,duration_s,energy_j,board"))  # fmt: skip
    assert main(["fit", str(tmp_path / "s.csv"), "--out", str(profile)]) == 2
    assert "p.toml: holds a profile of Pi, this is of Nano; give another --out" in capsys.readouterr().err


def test_a_profile_of_uploads_is_read_strictly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "p.toml"
    run(tmp_path, sheet(*FRAMES, header=HEADER), "--out", str(profile))
    text = profile.read_text()
    for start, new, sentence in (
        ("amplifier_efficiency =", "amplifier_efficiency = 1.25", "radio.amplifier_efficiency: 1.25"),
        ("overhead_w =", "overhead_mw = 500.0", "radio.overhead_mw: wrong unit; give `overhead_w` in watts"),
        ("[radio.idle]", "[radio.idl]", "radio.idl: unknown field; did you mean `idle`?"),
        ("tx_power_w = 0.05", "", "radio.level: one of several has no tx_power_w; give it to each or to none"),
    ):
        old = next(line for line in text.splitlines() if line.startswith(start))
        profile.write_text(text.replace(old, new))
        assert main(["show", str(profile)]) == 2
        assert sentence in capsys.readouterr().err
    profile.write_text(text)
    assert main(["predict", str(profile), "--samples", "1", "--duration-s", "1", "--freq-hz", "1e9"]) == 2
    assert "p.toml: holds uploads only; sweep the board's clocks and fit them into it" in capsys.readouterr().err


def test_show_knows_uploads_and_profiles_of_either_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    profile, picture = tmp_path / "p.toml", tmp_path / "p.png"
    run(tmp_path, sheet(*FRAMES, header=HEADER), "--out", str(profile))
    capsys.readouterr()
    for file in (tmp_path / "up.csv", profile):
        assert main(["show", str(file)]) == 0
        assert "P = 2.5 W + p / 0.25 + 0.001 J a frame" in capsys.readouterr().out
        picture.unlink(missing_ok=True)
        assert main(["show", str(file), "--png", str(picture)]) == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "cm4.csv").write_text(module_csv())
    assert main(["fit", str(tmp_path / "cm4.csv"), "--out", str(profile)]) == 0
    assert main(["show", str(profile)]) == 0
    said = capsys.readouterr().out
    assert "cheapest for the whole board" in said and "J a frame" in said
    assert main(["show", str(profile), "--png", str(picture), "--radio"]) == 0
    assert main(["show", str(tmp_path / "cm4.csv"), "--png", str(picture), "--radio"]) == 2
    assert "cm4.csv: has no uploads" in capsys.readouterr().err


def test_three_coefficients_none_below_zero() -> None:
    """y = 2 + 3 x0 through exact points; the third column would like -1, and is held at 0."""
    ones, x = np.ones(4), np.array([0.0, 1.0, 2.0, 3.0])
    third = np.array([0.0, 1.0, 1.0, 0.0])
    plane = fit_plane(np.stack([ones, x, third], axis=1), 2 + 3 * x, np.ones(4), relative=True)
    assert plane.coefficients == pytest.approx([2.0, 3.0, 0.0], abs=1e-12)
    held = fit_plane(np.stack([ones, x, third], axis=1), 2 + 3 * x - third, np.ones(4), relative=True)
    # without the third the line through 2, 4, 7, 11: mean 6, slope 15 / 5 = 3, intercept 6 - 4.5
    assert held.coefficients == pytest.approx([1.5, 3.0, 0.0])
    assert held.covariance[2].tolist() == [0.0, 0.0, 0.0]
    assert held.freedom == 2
