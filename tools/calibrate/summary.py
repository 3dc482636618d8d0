"""What a calibration comes to: for programs (`--json`) and for people. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from firmware_profiles.calibrated import Calibration
from tools.calibrate.optimum import best_freq_hz, best_freq_model_hz, flat_range_hz, joules_at
from tools.calibrate.predict import settles_c, timing_freq_hz

HOT_C = 80.0
"""Where a Raspberry Pi begins to lower its clock; Jetsons some degrees later."""


def as_json(calibration: Calibration) -> dict[str, Any]:
    """The object that `fit --json` prints; None where the idle floor is not known. README tells each field."""
    fit, idle_w, opps = calibration.fit, calibration.idle_w, calibration.opp
    known = idle_w is not None
    floor_w = idle_w or 0.0
    settled = settles_c(calibration)
    return {
        "model": fit.model,
        "energy_mape": fit.law.energy_mape,
        "time_mape": fit.law.time_mape,
        "power_mape": fit.law.power_mape,
        "energy_worst": fit.law.energy_worst,
        "time_worst": fit.law.time_worst,
        "energy_mape_held_out": fit.held_out.energy_mape,
        "energy_worst_held_out": fit.held_out.energy_worst,
        "time_mape_held_out": fit.held_out.time_mape,
        "time_worst_held_out": fit.held_out.time_worst,
        "held_out": {"law": msgspec.to_builtins(fit.law_held_out), "table": msgspec.to_builtins(fit.table_held_out)},
        "best_freq_hz": best_freq_hz(opps),
        "best_freq_model_hz": best_freq_model_hz(calibration.law),
        "flat_range_hz": list(flat_range_hz(opps)),
        "idle_w": idle_w,
        "best_freq_added_hz": best_freq_hz(opps, floor_w) if known else None,
        "best_freq_added_model_hz": best_freq_model_hz(calibration.law, floor_w) if known else None,
        "flat_range_added_hz": list(flat_range_hz(opps, floor_w)) if known else None,
        "timing_freq_hz": timing_freq_hz(calibration),
        "thermal": None if calibration.thermal is None else msgspec.to_builtins(calibration.thermal),
        "settles_c": None if settled is None else list(settled),
        "cores": calibration.cores,
        "law": msgspec.to_builtins(calibration.law),
        "opps": [msgspec.to_builtins(opp) for opp in opps],
        "origin": msgspec.to_builtins(calibration.origin),
    }


def as_text(calibration: Calibration, name: str) -> str:
    """The table and the fit, for a terminal."""
    opps, law, fit, idle = calibration.opp, calibration.law, calibration.fit, calibration.idle
    origin = calibration.origin
    flat, best = set(flat_range_hz(opps)), best_freq_hz(opps)
    cores = "" if calibration.cores is None else f", {calibration.cores} core{'s' * (calibration.cores > 1)}"
    what = ", ".join(str(part) for part in (origin.board, origin.network, origin.boundary) if part)
    lines = [f"{name}{cores}{f' ({what})' if what else ''}", ""]
    lines.append(
        f"{'MHz':>7} {'s/sample':>10} {'±':>6} {'W':>8} {'J/sample':>10} {'±':>6} {'added J':>10} {'windows':>8}"
    )
    added = joules_at(opps, calibration.idle_w or 0.0)
    for opp, added_j in zip(opps, added, strict=True):
        mark = " cheapest" if opp.freq_hz == best else " within 1 %" if opp.freq_hz in flat else ""
        lines.append(
            f"{opp.freq_hz / 1e6:>7g} {opp.s_per_sample:>10.4g} {_percent(opp.s_uncertainty):>6}"
            f" {opp.j_per_sample / opp.s_per_sample:>8.4g} {opp.j_per_sample:>10.4g} {_percent(opp.j_uncertainty):>6}"
            f" {'-' if idle is None else f'{added_j:.4g}':>10} {opp.windows:>8}{mark}"
        )
    lines += ["", *_law_lines(calibration)]
    held = fit.held_out
    lines.append(
        f"a clock left out is foretold by the {fit.model} within {held.energy_mape:.1%} of its joules (worst"
        f" {held.energy_worst:.1%}) and {held.time_mape:.1%} of its seconds (worst {held.time_worst:.1%})"
    )
    lines.append(
        f"cheapest for the whole board: {best / 1e6:g} MHz as measured, {best_freq_model_hz(law) / 1e6:.0f} MHz on the"
        f" curve; within 1 %: {', '.join(f'{hz / 1e6:g}' for hz in sorted(flat))} MHz"
    )
    if idle is not None:
        lines.append(
            f"cheapest for what the task adds over {idle.power_w:.4g} W idle ({idle.source}):"
            f" {best_freq_hz(opps, idle.power_w) / 1e6:g} MHz"
        )
    lines += _warmth_lines(calibration)
    if origin.rejected:
        counts = ", ".join(f"{count} {fault}" for fault, count in sorted(origin.rejected.items()))
        lines.append(f"windows left out: {counts}")
    return "\n".join(lines)


def _law_lines(calibration: Calibration) -> list[str]:
    law, fit = calibration.law, calibration.fit.law
    (aa, _), (_, ww) = law.time_covariance
    (ss, _), (_, kk) = law.power_covariance
    return [
        f"P = {law.power_static_w:.4g} (±{ss**0.5:.2g}) W + {law.kappa_w_per_hz3:.4g} (±{kk**0.5:.2g}) W/Hz³ f³,"
        f" mean error {fit.power_mape:.1%}",
        f"s = {law.fixed_s_per_sample:.4g} (±{aa**0.5:.2g}) s + {law.cycles_per_sample:.4g} (±{ww**0.5:.2g}) cycles / f"
        f", mean error {fit.time_mape:.1%}; joules {fit.energy_mape:.1%}",
    ]


def _warmth_lines(calibration: Calibration) -> list[str]:
    thermal, settled = calibration.thermal, settles_c(calibration)
    if thermal is None or settled is None:
        return []
    more = f"; a degree more costs {thermal.w_per_c * 1e3:.3g} mW" if thermal.w_per_c else ""
    hot = [opp.freq_hz for opp, end_c in zip(calibration.opp, settled, strict=True) if end_c >= HOT_C]
    lines = [
        f"warms by {thermal.resistance_c_per_w:.3g} °C/W from {thermal.ambient_c:.3g} °C, nine tenths of it in"
        f" {2.3 * thermal.time_constant_s:.0f} s{more}; settles at {settled[-1]:.0f} °C at"
        f" {calibration.opp[-1].freq_hz / 1e6:g} MHz"
    ]
    if hot:
        lines.append(
            f"from {hot[0] / 1e6:g} MHz on it settles above {HOT_C:g} °C: expect it to throttle, cool it better"
        )
    return lines


def _percent(relative: float | None) -> str:
    return "-" if relative is None else f"{relative:.1%}"
