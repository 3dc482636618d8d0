"""Two models of a board, each foretelling seconds and joules a sample at any clock. Pure.

The *law*: tau(f) = a + w/f and P(f) = P_s + kappa f^3, fitted to all clocks by weighted least squares. The *table*
follows what was measured: seconds by the law through the two clocks around f, watts by a smooth curve through all that
does not overshoot (a voltage that stands still at low clocks and rises above them bends watts as no one power of f
does); beyond the measured range both go on as the law through the last two. Which of both
foretells better shows when each clock in turn is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from firmware_profiles.calibrated import CalibratedLaw, CalibratedOpp, Matrix, Misfit
from models import energy
from models.pchip import pchip
from tools.calibrate.lines import fit_line

ModelName = Literal["law", "table"]
Curve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Clocks (K,) in hertz to seconds and joules a sample, each (K,)."""


def fit_law(opps: Sequence[CalibratedOpp]) -> CalibratedLaw:
    """The law through at least two operating points."""
    freq_hz, tau_s, joules = arrays(opps)
    seconds = fit_line(1.0 / freq_hz, tau_s, _uncertainty([opp.s_uncertainty for opp in opps]))
    power = fit_line(freq_hz**3, joules / tau_s, _uncertainty([opp.w_uncertainty for opp in opps]))
    return CalibratedLaw(
        fixed_s_per_sample=seconds.intercept,
        cycles_per_sample=seconds.slope,
        power_static_w=power.intercept,
        kappa_w_per_hz3=power.slope,
        freq_min_hz=float(freq_hz.min()),
        freq_max_hz=float(freq_hz.max()),
        time_covariance=_matrix(seconds.covariance),
        power_covariance=_matrix(power.covariance),
    )


def law_curve(law: CalibratedLaw) -> Curve:
    """What the law says."""
    fixed_s, cycles, static_w, kappa = map(
        np.array, (law.fixed_s_per_sample, law.cycles_per_sample, law.power_static_w, law.kappa_w_per_hz3)
    )

    def curve(freq_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tau_s = energy.seconds_per_sample(freq_hz, fixed_s, cycles)
        return tau_s, tau_s * energy.busy_power_w(freq_hz, static_w, kappa)

    return curve


def table_curve(opps: Sequence[CalibratedOpp]) -> Curve:
    """What at least two measured points say, ascending in frequency."""
    known_hz, tau_s, joules = arrays(opps)

    def curve(freq_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left = np.clip(np.searchsorted(known_hz, freq_hz) - 1, 0, len(known_hz) - 2)
        seconds = _through(1.0 / known_hz, tau_s, left, 1.0 / freq_hz)
        return seconds, seconds * watts_between(known_hz, joules / tau_s, freq_hz)

    return curve


def watts_between(known_hz: np.ndarray, power_w: np.ndarray, freq_hz: np.ndarray) -> np.ndarray:
    """Watts (N,) at `freq_hz` from measured ones (K,), K >= 2: a smooth curve between them, P_s + kappa f^3 beyond."""
    left = np.clip(np.searchsorted(known_hz, freq_hz) - 1, 0, len(known_hz) - 2)
    beyond = _through(known_hz**3, power_w, left, freq_hz**3)
    if len(known_hz) == 2:
        return beyond
    inside = (known_hz[0] <= freq_hz) & (freq_hz <= known_hz[-1])
    return np.where(inside, pchip(known_hz, power_w, np.clip(freq_hz, known_hz[0], known_hz[-1])), beyond)


def curve_of(model: ModelName, opps: Sequence[CalibratedOpp], law: CalibratedLaw | None = None) -> Curve:
    """The curve of a model; the law is fitted to `opps` where none is given."""
    return table_curve(opps) if model == "table" else law_curve(law or fit_law(opps))


def left_out(model: ModelName, opps: Sequence[CalibratedOpp]) -> Misfit:
    """Each clock of at least three as the model foretells it from the others."""
    foretold = []
    for k, opp in enumerate(opps):
        others = [*opps[:k], *opps[k + 1 :]]
        tau_s, joules = curve_of(model, others)(np.array([opp.freq_hz]))
        foretold.append((tau_s[0], joules[0]))
    return misfit(np.array(foretold).T, opps)


def misfit(foretold: Sequence[np.ndarray] | np.ndarray, opps: Sequence[CalibratedOpp]) -> Misfit:
    """Foretold seconds and joules, each (K,), against the measured ones."""
    tau_s, joules = foretold
    _, true_s, true_j = arrays(opps)
    time, energy_ = np.abs(tau_s / true_s - 1.0), np.abs(joules / true_j - 1.0)
    power = np.abs(joules / tau_s / (true_j / true_s) - 1.0)
    return Misfit(
        energy_mape=float(energy_.mean()),
        energy_worst=float(energy_.max()),
        time_mape=float(time.mean()),
        time_worst=float(time.max()),
        power_mape=float(power.mean()),
    )


def arrays(opps: Sequence[CalibratedOpp]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clocks in hertz, seconds and joules a sample, each (K,)."""
    columns = np.array([(opp.freq_hz, opp.s_per_sample, opp.j_per_sample) for opp in opps]).T
    return columns[0], columns[1], columns[2]


def _through(x: np.ndarray, y: np.ndarray, left: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Straight on through the points `left` and `left` + 1."""
    return y[left] + (y[left + 1] - y[left]) * (at - x[left]) / (x[left + 1] - x[left])


def _uncertainty(values: Sequence[float | None]) -> np.ndarray | None:
    known = np.array([np.nan if value is None else value for value in values])
    return known if np.all(known > 0) else None


def _matrix(covariance: np.ndarray) -> Matrix:
    (a, b), (c, d) = covariance.tolist()
    return (a, b), (c, d)
