"""What an upload costs at each transmit power: P = P0 + p / efficiency, joules a byte and a frame. Pure.

Columns of the CSV: bytes, duration_s, energy_j, and optional tx_power_w (radiated), frames, idle. `P0` is the whole
board's; less the idle floor it is the planner's `overhead_w`. A cost per frame could only be told from P0 where frames
a second change at one level, so frames are a measured quotient here, not a term of the fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tools.calibrate.csv_text import Column, Line, flag, number, parse, whole
from tools.calibrate.errors import CalibrateError
from tools.calibrate.lines import fit_line

COLUMNS: dict[str, Column] = {
    "bytes": Column(whole, required=True),
    "duration_s": Column(number, required=True),
    "energy_j": Column(number, required=True),
    "tx_power_w": Column(number),
    "frames": Column(whole),
    "idle": Column(flag),
}


def calibrate_radio(text: str, source: str, idle_w: float | None = None) -> dict[str, Any]:
    """Levels and the line through them, for `--json`; None where it is not known. Raises CalibrateError."""
    lines = parse(text, source, COLUMNS).lines
    for line in lines:
        _check(line, source)
    idle = [line for line in lines if line.cells.get("idle")]
    uploads = [line for line in lines if not line.cells.get("idle")]
    if not uploads:
        raise CalibrateError(f"{source}: there are idle windows only; give windows of upload")
    if idle_w is None and idle:
        idle_w = _sum(idle, "energy_j") / _sum(idle, "duration_s")
    by_level: dict[float | None, list[Line]] = {}
    for line in uploads:
        by_level.setdefault(line.cells.get("tx_power_w"), []).append(line)
    if None in by_level and len(by_level) > 1:
        blank = by_level[None][0].number
        raise CalibrateError(f"{source}: line {blank}: tx_power_w is blank; fill it, or drop the column")
    levels = [_level(p_w, by_level[p_w], idle_w) for p_w in sorted(by_level, key=lambda p_w: p_w or 0.0)]
    return {"idle_w": idle_w, **_law(levels, idle_w), "levels": levels}


def as_text(found: dict[str, Any]) -> str:
    """The same for a terminal."""
    lines = [f"{'W radiated':>10} {'W':>8} {'J/byte':>10} {'added':>10} {'J/frame':>10} {'bit/s':>10} {'windows':>8}"]
    for one in found["levels"]:
        cells = (one["tx_power_w"], one["power_w"], one["j_per_byte"], one["added_j_per_byte"], one["j_per_frame"])
        texts = ["-" if cell is None else f"{cell:.4g}" for cell in cells]
        shown = [f"{text:>{width}}" for text, width in zip(texts, _WIDTHS, strict=True)]
        lines.append(f"{' '.join(shown)} {one['bits_per_s']:>10.4g} {one['windows']:>8}")
    efficiency, overhead_w = found["amplifier_efficiency"], found["overhead_w"]
    lines += ["", f"P = {found['power_static_w']:.4g} W" + ("" if efficiency is None else f" + p / {efficiency:.3g}")]
    if overhead_w is not None:
        lines.append(f"the radio besides p / efficiency, over idle: {overhead_w:.4g} W")
    if efficiency is None:
        lines.append("watts do not rise with the level, or there is one level only: no efficiency can be told")
    return "\n".join(lines)


_WIDTHS = (10, 8, 10, 10, 10)


def _check(line: Line, source: str) -> None:
    needed = ("duration_s", "energy_j") if line.cells.get("idle") else ("bytes", "duration_s", "energy_j")
    for name in needed:
        if not line.cells.get(name):
            raise CalibrateError(f"{source}: line {line.number}: {name} is blank or 0; give what was measured")


def _level(p_w: float | None, lines: list[Line], idle_w: float | None) -> dict[str, Any]:
    sent, seconds, joules = (_sum(lines, name) for name in ("bytes", "duration_s", "energy_j"))
    frames = _sum(lines, "frames") if all("frames" in line.cells for line in lines) else 0.0
    added_j = None if idle_w is None else joules - idle_w * seconds
    return {
        "tx_power_w": p_w,
        "power_w": joules / seconds,
        "bits_per_s": 8 * sent / seconds,
        "j_per_byte": joules / sent,
        "added_j_per_byte": None if added_j is None else added_j / sent,
        "j_per_frame": joules / frames if frames else None,
        "added_j_per_frame": added_j / frames if frames and added_j is not None else None,
        "windows": len(lines),
    }


def _law(levels: list[dict[str, Any]], idle_w: float | None) -> dict[str, Any]:
    watts = np.array([level["power_w"] for level in levels])
    static_w, efficiency, mape = float(watts.mean()), None, None
    if len(levels) > 1:
        radiated = np.array([level["tx_power_w"] for level in levels])
        line = fit_line(radiated, watts)
        static_w, efficiency = line.intercept, 1.0 / line.slope if line.slope > 0 else None
        mape = float(np.abs(line.at(radiated) / watts - 1.0).mean())
    return {
        "power_static_w": static_w,
        "amplifier_efficiency": efficiency,
        "overhead_w": None if idle_w is None else static_w - idle_w,
        "power_mape": mape,
    }


def _sum(lines: list[Line], name: str) -> float:
    return float(sum(line.cells[name] for line in lines))
