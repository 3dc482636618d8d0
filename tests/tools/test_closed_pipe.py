"""Output that nobody reads to its end, as with `| head -1`, is no error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command",
    [
        ("server.cli", "plan", "--random", "2000", "--out", "-"),
        ("tools.calibrate.cli", "fit", "CSV", "--json"),
    ],
)
def test_a_reader_that_goes_away(command: tuple[str, ...], tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    clocks = "".join(f"{mhz}e6,100,{1e5 / mhz},{2e5 / mhz + 0.05 * mhz}\n" for mhz in range(600, 1600, 100))
    sheet.write_text("freq_hz,samples,duration_s,energy_j\n" + clocks)
    words = [str(sheet) if word == "CSV" else word for word in command]
    with subprocess.Popen(
        [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(120) == 0
    assert "BrokenPipe" not in said
    assert "Traceback" not in said
