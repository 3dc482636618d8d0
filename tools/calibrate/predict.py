"""Another network on a calibrated board, from one timing of it at one clock (models/board_curve.py). Pure.

Where the joules of the timing are given, what is above the idle floor is scaled to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firmware_profiles.calibrated import Calibration
from models.board_curve import foretell
from tools.calibrate.errors import CalibrateError
from tools.calibrate.models import curve_of


@dataclass(frozen=True)
class Timing:
    """`samples` of the other network took `duration_s` at `freq_hz`; `energy_j` (None: not measured) whole-board."""

    samples: int
    duration_s: float
    freq_hz: float
    energy_j: float | None = None


@dataclass(frozen=True)
class Prediction:
    """A sample of the other network at a clock; uncertainties are relative."""

    freq_hz: float
    s_per_sample: float
    j_per_sample: float
    s_uncertainty: float
    j_uncertainty: float


def predict(calibration: Calibration, timing: Timing, freqs_hz: Sequence[float]) -> tuple[Prediction, ...]:
    """The other network at `freqs_hz`; raises CalibrateError for a timing outside of the calibrated range."""
    law = calibration.law
    if not 0.98 * law.freq_min_hz <= timing.freq_hz <= 1.02 * law.freq_max_hz:
        raise CalibrateError(
            f"--freq-hz {timing.freq_hz:g} lies outside of the calibrated {law.freq_min_hz:g} to {law.freq_max_hz:g};"
            " time the network at a clock in between"
        )
    curve = curve_of(calibration.fit.model, calibration.opp, law)
    power_w = None if timing.energy_j is None else timing.energy_j / timing.duration_s
    idle_w = calibration.idle_w or 0.0
    seconds = timing.duration_s / timing.samples
    try:
        found = foretell(curve, np.array(freqs_hz, dtype=float), timing.freq_hz, seconds, power_w, idle_w)
    except ValueError:
        raise CalibrateError(
            f"--energy-j {timing.energy_j:g} over {timing.duration_s:g} s is not above the idle floor of {idle_w:g} W;"
            " give the joules of the whole board while it trained"
        ) from None
    base = calibration.fit.held_out
    return tuple(
        Prediction(
            freq_hz=float(freq_hz),
            s_per_sample=float(tau_s),
            j_per_sample=float(tau_s * watts),
            s_uncertainty=math.hypot(base.time_mape, spread),
            j_uncertainty=math.hypot(base.energy_mape, spread),
        )
        for freq_hz, tau_s, watts, spread in zip(freqs_hz, found.s_per_sample, found.power_w, found.spread, strict=True)
    )
