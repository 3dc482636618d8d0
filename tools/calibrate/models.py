"""Two models of a board, each foretelling seconds and joules a sample at any clock (models/board_curve.py). Pure.

The law is fitted to all clocks by weighted least squares, the table follows them; which foretells better shows when
each clock in turn is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from firmware_profiles.calibrated import CalibratedLaw, CalibratedOpp, Matrix, Misfit
from models import board_curve
from models.board_curve import Curve
from tools.calibrate.lines import fit_line

ModelName = Literal["law", "table"]


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


def curve_of(model: ModelName, opps: Sequence[CalibratedOpp], law: CalibratedLaw | None = None) -> Curve:
    """The curve of a model; the law is fitted to `opps` where none is given."""
    if model == "table":
        return board_curve.table_curve(*arrays(opps))
    return board_curve.curve_of(model, law or fit_law(opps), opps)


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


def _uncertainty(values: Sequence[float | None]) -> np.ndarray | None:
    known = np.array([np.nan if value is None else value for value in values])
    return known if np.all(known > 0) else None


def _matrix(covariance: np.ndarray) -> Matrix:
    (a, b), (c, d) = covariance.tolist()
    return (a, b), (c, d)
