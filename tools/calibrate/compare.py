"""Two calibrations, clock by clock. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from edge_client.accounting import CLOCK_TOLERANCE
from firmware_profiles.calibrated import CalibratedOpp, Calibration
from tools.calibrate.errors import CalibrateError
from tools.calibrate.optimum import best_freq_hz, flat_range_hz


@dataclass(frozen=True)
class Difference:
    """B against A at one clock, relative; `*_sigmas`: in units of its uncertainty (None: repeats tell none)."""

    freq_hz: float
    a_s: float
    b_s: float
    a_j: float
    b_j: float
    seconds: float
    seconds_sigmas: float | None
    joules: float
    joules_sigmas: float | None


def differences(a: Calibration, b: Calibration) -> tuple[Difference, ...]:
    """At each clock that both measured, ascending; raises CalibrateError where there is none."""
    pairs = [(one, min(b.opp, key=lambda other: abs(other.freq_hz - one.freq_hz))) for one in a.opp]
    both = [(one, other) for one, other in pairs if abs(other.freq_hz / one.freq_hz - 1) <= CLOCK_TOLERANCE / 10]
    if not both:
        raise CalibrateError(
            f"{a.origin.file} and {b.origin.file} have no clock in common; compare sweeps of the same operating points"
        )
    return tuple(_difference(one, other) for one, other in both)


def _difference(a: CalibratedOpp, b: CalibratedOpp) -> Difference:
    seconds, joules = b.s_per_sample / a.s_per_sample - 1.0, b.j_per_sample / a.j_per_sample - 1.0
    return Difference(
        freq_hz=a.freq_hz,
        a_s=a.s_per_sample,
        b_s=b.s_per_sample,
        a_j=a.j_per_sample,
        b_j=b.j_per_sample,
        seconds=seconds,
        seconds_sigmas=_sigmas(seconds, a.s_uncertainty, b.s_uncertainty),
        joules=joules,
        joules_sigmas=_sigmas(joules, a.j_uncertainty, b.j_uncertainty),
    )


def _sigmas(difference: float, a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else difference / math.hypot(a, b)


def as_json(a: Calibration, b: Calibration) -> dict[str, Any]:
    """The object that `compare --json` prints."""
    return {
        "clocks": [asdict(one) for one in differences(a, b)],
        "best_freq_hz": [best_freq_hz(a.opp), best_freq_hz(b.opp)],
        "flat_range_hz": [list(flat_range_hz(a.opp)), list(flat_range_hz(b.opp))],
    }


def as_text(a: Calibration, b: Calibration) -> str:
    """The same for a terminal."""
    lines = [
        f"A: {a.origin.file}, B: {b.origin.file}; differences are B against A, ± what repeats say of them",
        "",
        f"{'MHz':>7} {'A s/sample':>11} {'B':>10} {'diff':>8} {'±':>6} {'A J/sample':>11} {'B':>10} {'diff':>8}"
        f" {'±':>6}",
    ]
    lines += [
        f"{one.freq_hz / 1e6:>7g} {one.a_s:>11.4g} {one.b_s:>10.4g} {one.seconds:>+8.1%}"
        f" {_off(one.seconds, one.seconds_sigmas):>6} {one.a_j:>11.4g} {one.b_j:>10.4g} {one.joules:>+8.1%}"
        f" {_off(one.joules, one.joules_sigmas):>6}{' *' if _clear(one) else ''}"
        for one in differences(a, b)
    ]
    lines.append("")
    if any(_clear(one) for one in differences(a, b)):
        lines.append("* differs by more than twice its uncertainty")
    for name, calibration in (("A", a), ("B", b)):
        flat = ", ".join(f"{hz / 1e6:g}" for hz in flat_range_hz(calibration.opp))
        lines.append(f"{name}: cheapest at {best_freq_hz(calibration.opp) / 1e6:g} MHz; within 1 %: {flat} MHz")
    return "\n".join(lines)


def _off(difference: float, sigmas: float | None) -> str:
    return f"{abs(difference / sigmas):.1%}" if sigmas else "-"


def _clear(one: Difference) -> bool:
    return any(sigmas is not None and abs(sigmas) > 2 for sigmas in (one.seconds_sigmas, one.joules_sigmas))
