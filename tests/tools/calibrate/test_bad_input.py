"""What is wrong with a sheet is said in one sentence, with its line; the command ends with 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.calibrate.sheets import HEADER, law_line, module_csv, sheet
from tools.calibrate.cli import main

GOOD = [law_line(ghz) for ghz in (0.5, 1.0, 2.0)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the file is empty; give a header"),
        (HEADER + "\n", "there is nothing below the header"),
        (module_csv().replace("samples", "count"), "line 1: the column samples is missing"),
        (module_csv().replace("freq_hz", "freq_mhz"), "freq_mhz is there; give freq_hz in hertz"),
        (module_csv().replace("energy_j", "energy_mj"), "energy_mj is there; give energy_j in joules"),
        (module_csv().replace(",", ";"), "separate columns by commas"),
        (module_csv().replace("duration_s", "samples"), "line 1: samples stands in the header twice"),
        (module_csv().replace("1500000000,", "1500,"), "line 3: freq_hz is 1500, which looks like MHz; give hertz, 15"),
        (module_csv().replace("1500000000,", "1500000,"), "line 3: freq_hz is 1500000, which looks like kHz"),
        (module_csv().replace("1500000000,", "1.5,"), "line 3: freq_hz is 1.5, which looks like GHz"),
        (sheet(*GOOD, "1500000000,100,nan,500"), "line 5: duration_s is nan; give a finite number"),
        (sheet(*GOOD, "1500000000,100,inf,500"), "line 5: duration_s is inf; give a finite number"),
        (sheet(*GOOD, "1500000000,100,-3,500"), "line 5: duration_s is -3, below 0"),
        (sheet(*GOOD, "1500000000,100,3,x"), "line 5: energy_j is 'x'; give a number"),
        (sheet(*GOOD, "1500000000,100.5,3,4"), "line 5: samples is 100.5; give a whole number"),
        (sheet(*GOOD, "1500000000,0,3,4"), "line 5: samples is 0; give what was measured"),
        (sheet(*GOOD, "1500000000,100,,4"), "line 5: duration_s is blank"),
        (sheet(*GOOD, "1500000000,100,3"), "line 5 has 3 cells; the header names 4"),
        (sheet(*GOOD, "1500000000,100,3,600000"), "line 5: energy_j over duration_s is 2e+05 W"),
        (sheet(*GOOD, GOOD[1]), "line 5 says the same as line 3"),
        (sheet(GOOD[0]), "the only clock is 500 MHz (line 2): one clock cannot tell what another costs"),
        (sheet(*GOOD[:2]), "cannot be tested; measure at least 3"),
        (sheet(*GOOD, "1000100000,100,150,450"), "one clock for all that a meter can tell"),
        (sheet(*(f"{line},{n}" for line, n in zip(GOOD, "aab", strict=True)), header=HEADER + ",network"),
         "network is a on line 2 and b on line 4; fit one at a time: --network NAME"),
        (sheet(*(f"{line},{n}" for line, n in zip(GOOD, ("board", "soc", "soc"), strict=True)),
               header=HEADER + ",boundary"),
         "boundary is board on line 2 and soc on line 3"),
        (sheet(*(f"{line},{n}" for line, n in zip(GOOD, ("1", "", "1"), strict=True)), header=HEADER + ",cores"),
         "line 3 does not say how many cores"),
        (sheet(*(f"{line},true" for line in GOOD), header=HEADER + ",starved"),
         "all training windows are left out (3 starved)"),
        (sheet(*(f"{line},maybe" for line in GOOD), header=HEADER + ",starved"),
         "line 2: starved is 'maybe'; give true or false"),
        (sheet(*(f"{line},modelled" for line in GOOD), header=HEADER + ",source"), "(3 modelled)"),
        (sheet("500000000,100,100,200", "1000000000,100,200,500", "2000000000,100,300,900"),
         "slower at a higher clock"),
    ],
)  # fmt: skip
def test_one_sentence(text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "sweep.csv"
    csv.write_text(text)
    assert main(["fit", str(csv)]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith(f"fimi-calibrate: {csv}: ")
    assert said.count("\n") == 1


def test_no_file_no_text_no_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(tmp_path / "none.csv")]) == 2
    (tmp_path / "raw.csv").write_bytes(b"\xff\xfe\x00")
    assert main(["fit", str(tmp_path / "raw.csv")]) == 2
    assert main(["fit", str(tmp_path)]) == 2
    (tmp_path / "p.toml").write_text("")
    assert main(["fit", str(tmp_path / "p.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 4


def test_unknown_columns_are_mentioned_and_comments_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "sweep.csv"
    lines = [f"{line},hot" for line in GOOD]
    csv.write_text("# by hand\n\n" + sheet(*lines, header=HEADER + ",remark"))
    assert main(["fit", str(csv)]) == 0
    assert "columns that are not used: remark" in capsys.readouterr().err
