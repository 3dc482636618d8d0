"""Which clock is cheapest: of those that were measured, and on the fitted curve; for the whole board, and added.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from firmware_profiles.calibrated import CalibratedLaw, CalibratedOpp
from models import energy
from tools.calibrate.models import arrays

FLAT = 0.01
"""Clocks whose joules are within this share of the least are as good as the best."""


def joules_at(opps: Sequence[CalibratedOpp], idle_w: float = 0.0) -> np.ndarray:
    """Joules a sample (K,) at each measured clock: the whole board's, or above `idle_w`."""
    _, tau_s, joules = arrays(opps)
    return energy.above_idle(joules, tau_s, np.array(idle_w))


def best_freq_hz(opps: Sequence[CalibratedOpp], idle_w: float = 0.0) -> float:
    """The cheapest measured clock."""
    return opps[int(joules_at(opps, idle_w).argmin())].freq_hz


def flat_range_hz(opps: Sequence[CalibratedOpp], idle_w: float = 0.0) -> tuple[float, ...]:
    """The measured clocks whose joules lie within 1 % of the least, ascending."""
    joules = joules_at(opps, idle_w)
    return tuple(opp.freq_hz for opp, one in zip(opps, joules, strict=True) if one <= joules.min() * (1 + FLAT))


def best_freq_model_hz(law: CalibratedLaw, idle_w: float = 0.0) -> float:
    """Where the law's joules a sample are least, within the measured range; `idle_w` as above."""
    static_w = law.power_static_w - idle_w
    if law.kappa_w_per_hz3 == 0.0 or law.cycles_per_sample == 0.0:  # nothing gets dearer, or nothing gets quicker
        rises = law.cycles_per_sample == 0.0 or static_w < 0
        return law.freq_min_hz if rises else law.freq_max_hz
    numbers = (0.0, law.fixed_s_per_sample, law.cycles_per_sample, static_w, law.kappa_w_per_hz3)
    best = energy.cheapest_freq(*(np.array([value]) for value in (*numbers, law.freq_min_hz, law.freq_max_hz)))
    return float(best[0])
