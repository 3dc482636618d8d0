"""The compute side of a device when a second costs `price` joules: its clock, and how much it then trains."""

from __future__ import annotations

import numpy as np

from models import energy, learning_curve
from server.plan.fleet import Fleet


def cheapest_seconds(fleet: Fleet, price_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(tau, e(tau) + price*tau), each (I,): the seconds per sample of the least priced joules, price_w (I,) >= 0.

    On a table this is the lower envelope of K lines, on the analytic law one root: both over the whole range of clocks.
    """
    tau = np.empty(len(fleet))
    priced = np.empty(len(fleet))
    tables, curves = fleet.tables, fleet.curves
    if len(tables.rows):
        cost = tables.joules + price_w[tables.rows, None] * tables.tau_s
        best = cost.argmin(axis=1)[:, None]
        tau[tables.rows] = np.take_along_axis(tables.tau_s, best, axis=1)[:, 0]
        priced[tables.rows] = np.take_along_axis(cost, best, axis=1)[:, 0]
    if len(curves.rows):
        price = price_w[curves.rows]
        law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
        freq = energy.cheapest_freq(price, *law, curves.freq_min_hz, curves.freq_max_hz)
        seconds = energy.seconds_per_sample(freq, curves.fixed_s, curves.cycles)
        tau[curves.rows] = seconds
        priced[curves.rows] = seconds * (energy.busy_power_w(freq, curves.power_static_w, curves.kappa) + price)
    return tau, priced


def samples_at_price(fleet: Fleet, priced_j: np.ndarray, price_error_j: float) -> np.ndarray:
    """D (I,) minimising n*D*priced_j + price_error_j/I * loss(D) over [local, most]; priced_j (I,) joules a sample.

    The derivative of a device's own error vanishes at x = (lambda*alpha*beta*eta / (I*n*priced))**(1/(1+beta))
    effective samples. A pooled target pays the same for every sample: all where that is more than they cost, else none.
    """
    if fleet.target_error is None:
        return fleet.local.copy()
    if fleet.pooled:
        paid_j = price_error_j / len(fleet) * fleet.worth_slope * fleet.eta
        return np.where(fleet.epochs * priced_j < paid_j, fleet.most, fleet.local)
    with np.errstate(divide="ignore", over="ignore"):
        slope = len(fleet) * fleet.epochs * priced_j / (price_error_j * fleet.eta)
    worth = learning_curve.samples_for_slope(slope, fleet.curve.alpha, fleet.curve.beta)
    return np.clip(fleet.local + (worth - fleet.local) / fleet.eta, fleet.local, fleet.most)


def compute_joules(fleet: Fleet, samples: np.ndarray, compute_s: np.ndarray) -> np.ndarray:
    """E_cmp (I,) = n*D*e(t/(n*D)) of samples (I,) in compute_s (I,); time beyond the cheapest clock's is waited out.

    A rounding error below the fastest clock is taken as the fastest clock.
    """
    trained = fleet.epochs * samples
    tau = np.divide(compute_s, trained, out=fleet.tau_min_s.copy(), where=trained > 0)
    tau = np.clip(tau, fleet.tau_min_s, fleet.tau_idle_s)
    per_sample = np.empty(len(fleet))
    tables, curves = fleet.tables, fleet.curves
    per_sample[tables.rows] = energy.hull_energy(tau[tables.rows], tables.tau_s, tables.joules)
    if len(curves.rows):
        law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
        per_sample[curves.rows] = energy.joules_per_sample(tau[curves.rows], *law)
    return trained * per_sample
