"""From a validated problem to the arrays that the solver reads: joules on the basis, hulls, kinds of radio."""

from __future__ import annotations

import numpy as np

from models import energy
from server.plan.columnar import each
from server.plan.fleet import Curves, Fleet, Links, Tables
from server.plan.problem import Devices, EnergyBasis, Problem

_CHUNK = 65_536  # tables at a time: what a processor's cache holds


def build_fleet(problem: Problem) -> Fleet:
    """The arrays of a validated problem."""
    devices = problem.devices
    local = devices.local_samples.astype(float)
    tables = _tables(devices, problem.energy_basis)
    curves = _curves(devices, problem.energy_basis)
    tau_min = np.empty(len(devices))
    tau_min[tables.rows] = tables.tau_s[:, 0]
    tau_min[curves.rows] = energy.seconds_per_sample(curves.freq_max_hz, curves.fixed_s, curves.cycles)
    tau_idle = np.empty(len(devices))
    tau_idle[tables.rows] = tables.tau_s[:, -1]
    tau_idle[curves.rows] = energy.seconds_per_sample(_cheapest_freq(curves), curves.fixed_s, curves.cycles)
    links = _links(devices, problem.energy_basis)
    capacity = np.inf
    if links.banded.any():
        capacity = float(problem.bandwidth_hz or np.nan)
    elif links.shared.any():
        capacity = 1.0
    return Fleet(
        ids=devices.ids,
        local=local,
        most=local if problem.target_error is None else local + devices.storage_samples,
        upload_bits=devices.upload_bits,
        tau_min_s=tau_min,
        tau_idle_s=tau_idle,
        tables=tables,
        curves=curves,
        links=links,
        epochs=problem.local_epochs,
        round_s=float(problem.round_s),
        target_error=problem.target_error,
        curve=problem.learning_curve,
        eta=float(problem.synthetic_value),
        capacity=capacity,
        pooled=problem.accuracy_model == "pooled",
    )


def _tables(devices: Devices, basis: EnergyBasis) -> Tables:
    """The hulls of all measured tables: those of equal length at once, each point once."""
    opps, lengths = devices.opps, np.diff(devices.opps.start)
    rows = np.flatnonzero(lengths)
    hulls = []
    for length in np.unique(lengths[rows]).tolist():
        own = rows[lengths[rows] == length]
        for first in range(0, len(own), _CHUNK):
            part = own[first : first + _CHUNK]
            points = opps.start[part][:, None] + np.arange(length)
            tau, joules = opps.s_per_sample[points], opps.j_per_sample[points]
            if basis == "added":
                joules = energy.above_idle(joules, tau, devices.power_idle_w[part][:, None])
            hulls.append((part, _left_packed(tau, joules, opps.freq_hz[points])))
    width = max((columns[0].shape[1] for _, columns in hulls), default=1)
    filled = Tables(rows, *(np.empty((len(rows), width)) for _ in range(3)))
    for part, columns in hulls:
        at = np.searchsorted(rows, part)
        for whole, column in zip((filled.tau_s, filled.joules, filled.freq_hz), columns, strict=True):
            whole[at] = np.pad(column, ((0, 0), (0, width - column.shape[1])), mode="edge")
    return filled


def _left_packed(tau_s: np.ndarray, joules: np.ndarray, freq_hz: np.ndarray) -> tuple[np.ndarray, ...]:
    """The hull's points of tables (M, K) in front, ascending in tau, the last one repeated: three arrays (M, width)."""
    kept = energy.falling_hulls(tau_s, joules)
    order = np.argsort(np.where(kept, tau_s, np.inf), axis=1, kind="stable")
    count = kept.sum(axis=1)
    pick = np.minimum(np.arange(int(count.max())), count[:, None] - 1)
    order = np.take_along_axis(order, pick, axis=1)
    return tuple(np.take_along_axis(column, order, axis=1) for column in (tau_s, joules, freq_hz))


def _curves(devices: Devices, basis: EnergyBasis) -> Curves:
    rows = np.flatnonzero(~devices.tabled)
    laws = each(devices.laws, lambda column: column[rows])
    return Curves(
        rows=rows,
        fixed_s=laws.fixed_s_per_sample,
        cycles=laws.cycles_per_sample,
        power_static_w=laws.power_static_w - (devices.power_idle_w[rows] if basis == "added" else 0.0),
        kappa=laws.kappa_w_per_hz3,
        freq_min_hz=laws.freq_min_hz,
        freq_max_hz=laws.freq_max_hz,
    )


def _cheapest_freq(curves: Curves) -> np.ndarray:
    law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
    return energy.cheapest_freq(np.zeros(len(curves.rows)), *law, curves.freq_min_hz, curves.freq_max_hz)


def _links(devices: Devices, basis: EnergyBasis) -> Links:
    """Radios by kind; on the basis "board" the idle floor belongs to an upload too."""
    radios = devices.radios
    scheduled = radios.of_kind("scheduled")
    levels = _padded_levels(devices)
    most_w = radios.tx_power_max_w
    if levels is not None:
        highest = np.max(levels, axis=1, where=~np.isnan(levels), initial=-np.inf)
        most_w = np.where(np.isfinite(highest), highest, most_w)
    return Links(
        scheduled=scheduled,
        fixed_power=radios.of_kind("fixed_power"),
        shared=radios.of_kind("shared_link"),
        wired=radios.of_kind("wired"),
        noise_w_per_hz=1.0 / radios.gain_over_noise_hz_per_w,
        power_w=np.where(scheduled, most_w, np.nan_to_num(radios.tx_power_w)),
        efficiency=radios.amplifier_efficiency,
        overhead_w=radios.overhead_w + (devices.power_idle_w if basis == "board" else 0.0),
        rate_bits_per_s=radios.link_bits_per_s,
        levels_w=levels,
    )


def _padded_levels(devices: Devices) -> np.ndarray | None:
    """Discrete powers (I, L), padded with NaN; None where nobody has any."""
    lengths = np.diff(devices.levels.start)
    if not lengths.any():
        return None
    padded = np.full((len(devices), int(lengths.max())), np.nan)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = devices.levels.watts
    return padded
