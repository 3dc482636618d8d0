"""What a device's clocks cost, for the checker: from a problem's laws and tables by the formulae in `models` alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models import energy
from server.plan.problem import Problem

TOLERANCE = 1e-9  # relative, for every constraint and every recomputed number
_CHUNK = 65_536  # tables at a time


def joules_per_sample(problem: Problem, tau: np.ndarray) -> np.ndarray:
    """e(tau) (I,) on the basis; NaN outside the device's clocks."""
    devices, laws = problem.devices, problem.devices.laws
    law = (laws.fixed_s_per_sample, laws.cycles_per_sample)
    quick = energy.seconds_per_sample(laws.freq_max_hz, *law)
    slow = energy.seconds_per_sample(laws.freq_min_hz, *law)
    inside = np.clip(tau, quick, slow)
    joules = energy.joules_per_sample(inside, *law, laws.power_static_w, laws.kappa_w_per_hz3)
    if problem.energy_basis == "added":
        joules = energy.above_idle(joules, inside, devices.power_idle_w)
    joules[~(at_most(quick, tau) & at_most(tau, slow))] = np.nan
    for rows, _, seconds, on_basis in _tables(problem):
        joules[rows] = _between_points(tau[rows, None], seconds, on_basis)
    return joules


def _tables(problem: Problem) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """(rows (M,), then hertz, seconds and joules on the basis a sample, each (M, K)) of tables of one length."""
    devices, opps = problem.devices, problem.devices.opps
    lengths = np.diff(opps.start)
    for length in np.unique(lengths[lengths > 0]).tolist():
        alike = np.flatnonzero(lengths == length)
        for rows in np.array_split(alike, -(-len(alike) // _CHUNK)):
            points = opps.start[rows, None] + np.arange(length)
            seconds, joules = opps.s_per_sample[points], opps.j_per_sample[points]
            if problem.energy_basis == "added":
                joules = joules - devices.power_idle_w[rows, None] * seconds
            yield rows, opps.freq_hz[points], seconds, joules


def _between_points(tau: np.ndarray, seconds: np.ndarray, joules: np.ndarray) -> np.ndarray:
    """Joules (M,) at tau (M, 1) on the falling hulls of tables (M, K): the chord between the neighbours, behind the
    cheapest point what that one costs."""
    allowed = at_most(seconds.min(axis=1, keepdims=True), tau) & at_most(tau, seconds.max(axis=1, keepdims=True))
    tau = np.maximum(tau, seconds.min(axis=1, keepdims=True))
    kept, rows = energy.falling_hulls(seconds, joules), np.arange(len(tau))
    left = np.where(kept & (seconds <= tau), seconds, -np.inf).argmax(axis=1)
    right = np.where(kept & (seconds > tau), seconds, np.inf).argmin(axis=1)
    last = ~(kept & (seconds > tau)).any(axis=1)
    step = seconds[rows, right] - seconds[rows, left]
    part = np.where(last, 0.0, (tau[:, 0] - seconds[rows, left]) / step)
    value = joules[rows, left] + part * (joules[rows, right] - joules[rows, left])
    return np.where(allowed[:, 0], value, np.nan)


def at_clock(problem: Problem, rows: np.ndarray, freq_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, joules on the basis) of a sample at each clock (N,) of the devices `rows`; NaN where there is none.

    A clock of NaN is the one that is not known, which a device's single operating point may have.
    """
    devices, laws = problem.devices, problem.devices.laws
    tau = energy.seconds_per_sample(freq_hz, laws.fixed_s_per_sample[rows], laws.cycles_per_sample[rows])
    watts = energy.busy_power_w(freq_hz, laws.power_static_w[rows], laws.kappa_w_per_hz3[rows])
    if problem.energy_basis == "added":
        watts = watts - devices.power_idle_w[rows]
    tau[~(at_most(laws.freq_min_hz[rows], freq_hz) & at_most(freq_hz, laws.freq_max_hz[rows]))] = np.nan
    joules = tau * watts
    place = np.full(len(devices), -1)
    for table_rows, table_hz, seconds, on_basis in _tables(problem):
        place[table_rows] = np.arange(len(table_rows))
        own = np.flatnonzero(place[rows] >= 0)
        at = place[rows[own]]
        asked_hz = freq_hz[own, None]
        same = (table_hz[at] == asked_hz) | (np.isnan(table_hz[at]) & np.isnan(asked_hz))
        point, has = same.argmax(axis=1), same.any(axis=1)
        tau[own] = np.where(has, seconds[at, point], np.nan)
        joules[own] = np.where(has, on_basis[at, point], np.nan)
        place[table_rows] = -1
    return tau, joules


def at_most(value: np.ndarray | float, limit: np.ndarray | float) -> np.ndarray:
    return np.asarray(value <= limit * (1 + TOLERANCE))
