"""What a radio's calibration comes to: for programs (`--json`) and for people. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from firmware_profiles.calibrated_radio import CalibratedRadio, RadioLevel


def as_json(radio: CalibratedRadio) -> dict[str, Any]:
    """The object that `radio --json` prints; None where something is not known. README tells each field."""
    fit = radio.fit
    return {
        "idle_w": radio.idle.power_w if radio.idle else None,
        "power_static_w": radio.power_static_w,
        "overhead_w": radio.overhead_w,
        "overhead_uncertainty_w": radio.overhead_uncertainty_w,
        "amplifier_efficiency": radio.amplifier_efficiency,
        "efficiency_uncertainty": radio.efficiency_uncertainty,
        "no_efficiency": radio.no_efficiency,
        "frame_energy_j": radio.frame_energy_j,
        "frame_uncertainty_j": radio.frame_uncertainty_j,
        "no_frame_energy": radio.no_frame_energy,
        "seconds": radio.seconds,
        "power_mape": fit.energy_mape,
        "energy_worst": fit.energy_worst,
        "held_out": {"without_frames": fit.held_out, "with_frames": fit.held_out_with_frames},
        "covariance": fit.covariance,
        "levels": [msgspec.to_builtins(level) for level in radio.level],
        "origin": msgspec.to_builtins(radio.origin),
    }


_HEAD = (("W radiated", 10), ("frame", 6), ("W", 8), ("±", 6), ("J/byte", 10), ("±", 6), ("added", 10), ("J/frame", 10),
         ("bit/s", 10), ("windows", 8))  # fmt: skip


def as_text(radio: CalibratedRadio, name: str) -> str:
    """Levels and law, for a terminal."""
    origin = radio.origin
    what = ", ".join(str(part) for part in (origin.board, origin.interface, origin.boundary) if part)
    lines = [f"{name}{f' ({what})' if what else ''}", "", " ".join(f"{head:>{width}}" for head, width in _HEAD)]
    lines += [
        " ".join(f"{cell:>{width}}" for cell, (_, width) in zip(_cells(level), _HEAD, strict=True))
        for level in radio.level
    ]
    lines += ["", law(radio)]
    if radio.overhead_w is not None and radio.idle is not None:
        lines.append(
            f"the radio besides p / efficiency, over {radio.idle.power_w:.4g} W idle ({radio.idle.source}):"
            f" {radio.overhead_w:.4g}{_within(radio.overhead_uncertainty_w, radio.overhead_w)} W"
        )
    if radio.amplifier_efficiency is not None and radio.efficiency_uncertainty is not None:
        lines.append(f"efficiency {radio.amplifier_efficiency:.3g}, known within {radio.efficiency_uncertainty:.1%}")
    if radio.no_efficiency is not None:
        lines.append(f"no efficiency can be told: {radio.no_efficiency}")
    if radio.no_frame_energy is not None:
        lines.append(f"no cost per frame can be told: {radio.no_frame_energy}")
    fit = radio.fit
    held = fit.held_out if radio.frame_energy_j is None else fit.held_out_with_frames
    left = "" if held is None else f"; of a window that is left out: {held:.1%}"
    lines.append(f"mean error of joules {fit.energy_mape:.1%} (worst {fit.energy_worst:.1%}){left}")
    if origin.rejected:
        counts = ", ".join(f"{count} {fault}" for fault, count in sorted(origin.rejected.items()))
        lines.append(f"windows left out: {counts}")
    return "\n".join(lines)


def law(radio: CalibratedRadio) -> str:
    """The fitted law in one line."""
    per_p = "" if radio.amplifier_efficiency is None else f" + p / {radio.amplifier_efficiency:.3g}"
    frame = radio.frame_energy_j
    frames = "" if frame is None else f" + {frame:.3g}{_within(radio.frame_uncertainty_j, frame)} J a frame"
    within = _within(radio.overhead_uncertainty_w, radio.power_static_w)
    return f"P = {radio.power_static_w:.4g}{within} W{per_p}{frames}"


def _within(sigma: float | None, value: float) -> str:
    """The uncertainty; nothing where it is not known, or no more than rounding."""
    return "" if sigma is None or sigma <= 1e-9 * abs(value) else f" (±{sigma:.2g})"


def _cells(level: RadioLevel) -> tuple[str, ...]:
    return (
        _number(level.tx_power_w),
        _number(level.payload_bytes),
        _number(level.power_w),
        _percent(level.w_uncertainty),
        _number(level.j_per_byte),
        _percent(level.byte_uncertainty),
        _number(level.added_j_per_byte),
        _number(level.j_per_frame),
        _number(level.bits_per_s),
        str(level.windows),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _percent(relative: float | None) -> str:
    return "-" if relative is None else f"{relative:.1%}"
