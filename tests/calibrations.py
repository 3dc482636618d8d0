"""The calibration of the fake board (tests/rounds/fake_device.py), fitted from a sheet that is written here."""

from __future__ import annotations

from firmware_profiles.calibrated import Calibration
from tools.calibrate.calibrate import calibrate_text

GHZ = (0.5, 0.7, 0.9, 1.1, 1.3, 1.5)
HEADER = "freq_hz,samples,duration_s,energy_j,cores,source,boundary,meter,network,batch_size,runtime,board,start"
IDLE_W = 2.0


def sheet(
    *, cycles: float = 1e7, network: str = "tiny", batch_size: int = 16, runtime: str = "fake", board: str = "fake"
) -> str:
    """A window a clock: `cycles` a sample at 3 W + (f/GHz)**3 W."""
    more = f"1,measured,board,fake,{network},{batch_size},{runtime},{board},2026-11-20T08:00:00Z"
    lines = []
    for ghz in GHZ:
        seconds = 1000 * cycles / (ghz * 1e9)
        lines.append(f"{ghz * 1e9:.0f},1000,{seconds!r},{seconds * (3 + ghz**3)!r},{more}")
    return "\n".join([HEADER, *lines]) + "\n"


def calibration(**how: object) -> Calibration:
    return calibrate_text(sheet(**how), "fake.csv", idle_w=IDLE_W)  # type: ignore[arg-type]
