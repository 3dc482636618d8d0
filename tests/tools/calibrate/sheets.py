"""Sheets of windows to read by hand."""

from __future__ import annotations

# a fixed job of a hundred samples on a Compute Module 4, whole-board watts and seconds; it idles at 1.944 W
MODULE = ((1200, 2.521, 209), (1500, 2.740, 183), (1800, 3.029, 161), (1950, 3.178, 153), (2000, 3.271, 150),
          (2100, 3.477, 145))  # fmt: skip
MODULE_IDLE_W = 1.944
HEADER = "freq_hz,samples,duration_s,energy_j"


def module_csv() -> str:
    """The Compute Module's windows as a CSV of the four columns."""
    lines = [f"{mhz}000000,100,{seconds},{watts * seconds}" for mhz, watts, seconds in MODULE]
    return "\n".join([HEADER, *lines]) + "\n"


def sheet(*lines: str, header: str = HEADER) -> str:
    return "\n".join([header, *lines]) + "\n"


def law_line(ghz: float, samples: int = 100, more: str = "") -> str:
    """A window of a board with tau = 0.5 + 1e9/f and P = 2 + 1e-27 f^3."""
    seconds = samples * (0.5 + 1 / ghz)
    return f"{ghz * 1e9:.0f},{samples},{seconds!r},{seconds * (2 + ghz**3)!r}{more}"
