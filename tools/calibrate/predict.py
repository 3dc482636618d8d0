"""Another network on a calibrated board, from one timing of it at one clock. Pure.

One timing tells how much work a sample of it is, not how much of that waits for memory. So cycles and the fixed part
are scaled alike: tau_new(f) = tau_new(f0) * tau(f) / tau(f0), which keeps the share of time that does not shrink with
the clock. That share is a network's own: `STALL_SPREAD` is how far it is taken to differ, and the uncertainty grows
with the distance from the timed clock accordingly. Watts are taken from the calibration: they are those of the board
at work, and hardly those of the network; where the joules of the timing are given, what is above the idle floor is
scaled to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firmware_profiles.calibrated import Calibration
from tools.calibrate.errors import CalibrateError
from tools.calibrate.models import Curve, curve_of

STALL_SPREAD = 0.05
"""Standard deviation between networks of the share of a sample's time, at the timed clock, that does not scale."""


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
    here_s, here_j = (float(value[0]) for value in curve(np.array([timing.freq_hz])))
    tau_s, joules = curve(np.array(freqs_hz, dtype=float))
    work = timing.duration_s / timing.samples / here_s
    power_w = _watts(joules / tau_s, here_j / here_s, timing, calibration.idle_w or 0.0)
    base = calibration.fit.held_out
    found = []
    for freq_hz, seconds, watts in zip(freqs_hz, tau_s * work, power_w, strict=True):
        spread = _stall_uncertainty(curve, timing.freq_hz, freq_hz)
        found.append(
            Prediction(
                freq_hz=float(freq_hz),
                s_per_sample=float(seconds),
                j_per_sample=float(seconds * watts),
                s_uncertainty=math.hypot(base.time_mape, spread),
                j_uncertainty=math.hypot(base.energy_mape, spread),
            )
        )
    return tuple(found)


def _watts(power_w: np.ndarray, here_w: float, timing: Timing, idle_w: float) -> np.ndarray:
    if timing.energy_j is None:
        return power_w
    above = timing.energy_j / timing.duration_s - idle_w
    if above <= 0:
        raise CalibrateError(
            f"--energy-j {timing.energy_j:g} over {timing.duration_s:g} s is not above the idle floor of {idle_w:g} W;"
            " give the joules of the whole board while it trained"
        )
    return idle_w + (power_w - idle_w) * above / (here_w - idle_w)


def _stall_uncertainty(curve: Curve, timed_hz: float, freq_hz: float) -> float:
    """By how much seconds change, relatively, where a share `STALL_SPREAD` of the timed sample scales otherwise."""
    tau_s, _ = curve(np.array([timed_hz, freq_hz]))
    ratio = float(tau_s[1] / tau_s[0])  # with a share more fixed: ratio + spread * (1 - f0/f)
    return STALL_SPREAD * abs(1.0 - timed_hz / freq_hz) / ratio
