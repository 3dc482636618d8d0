"""Another network on a calibrated board, from one timing of it at one clock; any network on a warm board. Pure.

What one timing tells, and what it leaves to guess: models/board_curve.py; `timing_freq_hz` leaves least.
Where the joules of the timing are given, what is above the idle floor is scaled to them. Where the sweep told how the
board warms up, watts can be asked for at another warmth than the sweep's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firmware_profiles.calibrated import Calibration
from models.board_curve import foretell, stall_uncertainty
from models.pchip import pchip
from models.thermal import power_from_w
from tools.calibrate.errors import CalibrateError
from tools.calibrate.models import curve_of

TRIED = 201
"""Clocks among which the best one for a timing is looked for."""


@dataclass(frozen=True)
class Warmth:
    """Work that begins when the board is at `start_c` and lasts `seconds` (inf: until it has settled)."""

    start_c: float
    seconds: float = math.inf


@dataclass(frozen=True)
class Timing:
    """`samples` of the other network took `duration_s` at `freq_hz`; `energy_j` (None: not measured) whole-board.

    `start_c` is how warm the board was when it began (None: as warm as in the sweep).
    """

    samples: int
    duration_s: float
    freq_hz: float
    energy_j: float | None = None
    start_c: float | None = None


@dataclass(frozen=True)
class Prediction:
    """A sample of the other network at a clock; uncertainties are relative."""

    freq_hz: float
    s_per_sample: float
    j_per_sample: float
    s_uncertainty: float
    j_uncertainty: float


def predict(
    calibration: Calibration, timing: Timing, freqs_hz: Sequence[float], warmth: Warmth | None = None
) -> tuple[Prediction, ...]:
    """The other network at `freqs_hz`, as warm as in the sweep or at `warmth`.

    Raises CalibrateError for a timing outside of the calibrated range, or a warmth that the sweep did not tell about.
    """
    law = calibration.law
    if not 0.98 * law.freq_min_hz <= timing.freq_hz <= 1.02 * law.freq_max_hz:
        raise CalibrateError(
            f"--freq-hz {timing.freq_hz:g} lies outside of the calibrated {law.freq_min_hz:g} to {law.freq_max_hz:g};"
            " time the network at a clock in between"
        )
    curve = curve_of(calibration.fit.model, calibration.opp, law)
    freqs = np.array(freqs_hz, dtype=float)
    found = foretell(curve, freqs, timing.freq_hz, timing.duration_s / timing.samples)
    power_w = watts(calibration, freqs_hz, warmth)
    if timing.energy_j is not None:
        power_w = _scaled(power_w, calibration, timing, timing.energy_j)
    base = calibration.fit.held_out
    return tuple(
        Prediction(
            freq_hz=float(freq_hz),
            s_per_sample=float(tau_s),
            j_per_sample=float(tau_s * drawn_w),
            s_uncertainty=math.hypot(base.time_mape, spread),
            j_uncertainty=math.hypot(base.energy_mape, spread),
        )
        for freq_hz, tau_s, drawn_w, spread in zip(freqs, found.s_per_sample, power_w, found.spread, strict=True)
    )


def watts(calibration: Calibration, freqs_hz: Sequence[float], warmth: Warmth | None = None) -> np.ndarray:
    """Watts (N,) at work, as warm as in the sweep or at `warmth`; raises CalibrateError where that is not known."""
    asked = np.array(freqs_hz, dtype=float)
    tau_s, joules = curve_of(calibration.fit.model, calibration.opp, calibration.law)(asked)
    if warmth is None:
        return np.asarray(joules / tau_s)
    thermal = calibration.thermal
    if thermal is None:
        raise CalibrateError(
            "the sweep does not tell how the board warms up; leave --start-c out, or sweep with temperature_start_c and"
            " temperature_c in at least 8 windows"
        )
    known_hz = np.array([opp.freq_hz for opp in calibration.opp])
    known_c = np.array([opp.temperature_c for opp in calibration.opp], dtype=float)
    seen_c = pchip(known_hz, known_c, np.clip(asked, known_hz[0], known_hz[-1]))
    return power_from_w(
        joules / tau_s,
        seen_c,
        start_c=warmth.start_c,
        seconds=warmth.seconds,
        ambient_c=thermal.ambient_c,
        resistance_c_per_w=thermal.resistance_c_per_w,
        time_constant_s=thermal.time_constant_s,
        w_per_c=thermal.w_per_c,
    )


def settles_c(calibration: Calibration) -> tuple[float, ...] | None:
    """Where the temperature ends when the board works on at each measured clock; None where that is not known."""
    thermal = calibration.thermal
    if thermal is None:
        return None
    power_w = watts(calibration, [opp.freq_hz for opp in calibration.opp], Warmth(start_c=0.0))
    return tuple((thermal.ambient_c + thermal.resistance_c_per_w * power_w).tolist())


def timing_freq_hz(calibration: Calibration) -> float:
    """The clock within the measured range from which the least is left to guess: where both ends are equally uncertain.

    Take the board's clock next to it.
    """
    curve = curve_of(calibration.fit.model, calibration.opp, calibration.law)
    ends = np.array([calibration.opp[0].freq_hz, calibration.opp[-1].freq_hz])
    asked = np.linspace(ends[0], ends[1], TRIED)
    return float(min(asked, key=lambda timed_hz: float(stall_uncertainty(curve, timed_hz, ends).max())))


def _scaled(power_w: np.ndarray, calibration: Calibration, timing: Timing, energy_j: float) -> np.ndarray:
    """What is above the idle floor, as much more as the timing drew more than the calibration has it there and then."""
    idle_w = calibration.idle_w or 0.0
    above_w = energy_j / timing.duration_s - idle_w
    if above_w <= 0:
        raise CalibrateError(
            f"--energy-j {energy_j:g} over {timing.duration_s:g} s is not above the idle floor of {idle_w:g} W;"
            " give the joules of the whole board while it trained"
        )
    warmth = None if timing.start_c is None else Warmth(timing.start_c, timing.duration_s)
    here_w = float(watts(calibration, [timing.freq_hz], warmth)[0])
    return np.asarray(idle_w + (power_w - idle_w) * above_w / (here_w - idle_w))
