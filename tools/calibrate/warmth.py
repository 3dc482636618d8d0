"""How a board warms up, and what its warmth costs, from the windows of a sweep. Pure.

A window that lasted d seconds at P watts and began at T0 ends at T0 k + (1 - k) (ambient + R P), k = e^(-d / tau). For
each tau that is a line through all windows, idle ones among them; the tau whose line fits best is taken. What a degree
adds to the watts shows where one clock was measured at several temperatures, which the random order of a sweep sees to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from firmware_profiles.calibrated import CalibratedThermal
from models import thermal
from tools.calibrate.rows import Row

LEAST_WINDOWS = 8
LEAST_RANGE_C = 3.0
"""With less between the coolest and the warmest end of a window nothing can be told: sensors step by half a degree."""

EXPLAINED = 0.75
"""Share of the variance of the temperatures at windows' ends that the law must explain."""

RUNAWAY = 0.5
"""w_per_c * R above this is no board that works: each degree would heat itself by another half."""


def warmed(rows: Sequence[Row]) -> bool:
    """Whether these windows say how warm the board was."""
    return all(row.temperature_c is not None and row.temperature_start_c is not None for row in rows)


def fit_warmth(rows: Sequence[Row]) -> CalibratedThermal | None:
    """The law that `rows`, idle ones among them, tell; None where they do not tell it."""
    rows = [row for row in rows if warmed((row,))]
    if len(rows) < LEAST_WINDOWS:
        return None
    start_c, end_c, seconds, power_w = _arrays(rows)
    if np.ptp(end_c) < LEAST_RANGE_C:
        return None
    constants_s = np.geomspace(0.1, 20.0, 240) * float(np.median(seconds))
    fits = [_line(start_c, end_c, seconds, power_w, tau_s) for tau_s in constants_s]
    best = min(range(len(fits)), key=lambda k: fits[k][0])
    squares, ambient_c, resistance = fits[best]
    if resistance <= 0 or squares > (1.0 - EXPLAINED) * float(((end_c - end_c.mean()) ** 2).sum()):
        return None
    tau_s = float(constants_s[best])
    slope = _watts_a_degree(rows, tau_s)
    return CalibratedThermal(
        ambient_c=ambient_c,
        resistance_c_per_w=resistance,
        time_constant_s=tau_s,
        w_per_c=min(slope, RUNAWAY / resistance),
    )


def mean_c(rows: Sequence[Row], time_constant_s: float) -> float:
    """Mean temperature over windows, each as long as it took."""
    start_c, end_c, seconds, _ = _arrays(rows)
    each = thermal.mean_between_c(start_c, end_c, seconds, time_constant_s)
    return float((each * seconds).sum() / seconds.sum())


def _line(
    start_c: np.ndarray, end_c: np.ndarray, seconds: np.ndarray, power_w: np.ndarray, tau_s: float
) -> tuple[float, float, float]:
    """Squares left, ambient and resistance of the best line for a time constant."""
    left = thermal.remaining(seconds, tau_s)
    columns = np.stack([1.0 - left, (1.0 - left) * power_w], axis=1)
    wanted = end_c - start_c * left
    (ambient_c, resistance), *_ = np.linalg.lstsq(columns, wanted, rcond=None)
    return float(((columns @ (ambient_c, resistance) - wanted) ** 2).sum()), float(ambient_c), float(resistance)


def _watts_a_degree(rows: Sequence[Row], tau_s: float) -> float:
    """Slope of watts over mean temperature within clocks, pooled; 0 where it is not above twice its standard error."""
    by_clock: dict[float, list[Row]] = {}
    for row in rows:
        if row.freq_hz is not None and not row.idle:
            by_clock.setdefault(row.freq_hz, []).append(row)
    warmth, watts = [], []
    for group in by_clock.values():
        start_c, end_c, seconds, power_w = _arrays(group)
        each = thermal.mean_between_c(start_c, end_c, seconds, tau_s)
        warmth += list(each - each.mean())
        watts += list(power_w - power_w.mean())
    x, y = np.array(warmth), np.array(watts)
    freedom, spread = len(x) - len(by_clock) - 1, float((x**2).sum())
    if freedom < 1 or spread == 0.0:
        return 0.0
    slope = float((x * y).sum()) / spread
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / freedom / spread))
    return slope if slope > 2.0 * error else 0.0


def _arrays(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    columns = [(row.temperature_start_c, row.temperature_c, row.duration_s, row.power_w) for row in rows]
    start_c, end_c, seconds, power_w = np.array(columns, dtype=float).T
    return start_c, end_c, seconds, power_w
