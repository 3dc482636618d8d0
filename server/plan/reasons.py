"""Why each device does what a plan has it do: what one more sample and one more second would be worth to it.

At the optimum everybody who can still choose pays one price for error. A device whose next sample would cost more
trains its local data alone; one that would pay less is held back by its storage or by the time. At a kink - a clock
used alone, the highest clock - the next sample costs more than the last one saved: prices are ranges there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models import energy, learning_curve
from server.plan.build import build_fleet
from server.plan.fleet import Fleet
from server.plan.problem import Problem, Shares

_NEAR = 1e-7  # relative: this near to a limit a device is at it


class Limit(IntEnum):
    """What keeps a device from training another number of samples."""

    PRICE = 0  # nothing: it pays the price of all
    LOCAL = 1  # it has to train what it has, and more would be too dear
    STORAGE = 2  # its storage is full
    TIME = 3  # its highest clock is too slow for more, and its upload cannot be hurried


@dataclass(frozen=True)
class Reasons:
    """Of each device (I,): the joules of one unit less of mean error, the watts that one more second of its round would
    save, each as a range, and its `Limit`."""

    error_low_j: np.ndarray
    error_high_j: np.ndarray
    second_low_w: np.ndarray
    second_high_w: np.ndarray
    limit: np.ndarray


def reasons(problem: Problem, shares: Shares, devices: int) -> Reasons:
    """From the continuous shares that a plan of `devices` devices has for those of the (validated) problem."""
    fleet = build_fleet(problem)
    trained = fleet.epochs * shares.samples
    tau = np.divide(shares.compute_s, trained, out=fleet.tau_min_s.copy(), where=trained > 0)
    tau = np.clip(tau, fleet.tau_min_s, fleet.tau_idle_s)
    per_sample, low_w, high_w = _slopes(fleet, tau)
    spare = shares.compute_s + shares.upload_s < fleet.round_s * (1 - _NEAR)
    low_w, high_w = np.where(spare, 0.0, low_w), np.where(spare, 0.0, high_w)
    worth = learning_curve.effective_samples(fleet.local, shares.samples, fleet.eta)
    slope = learning_curve.error_slope(worth, fleet.curve.alpha, fleet.curve.beta)
    gain = -fleet.eta * slope / devices  # of mean error, by one more sample
    at_least, at_most = shares.samples <= fleet.local * (1 + _NEAR), shares.samples >= fleet.most * (1 - _NEAR)
    no_time = np.isinf(high_w) & fleet.links.wired  # other uploads could be hurried, at a price
    limit = np.select([at_most, at_least, no_time], [Limit.STORAGE, Limit.LOCAL, Limit.TIME], default=Limit.PRICE)
    with np.errstate(divide="ignore", invalid="ignore"):
        low_j, high_j = (fleet.epochs * (per_sample + watts * tau) / gain for watts in (low_w, high_w))
    return Reasons(low_j, high_j, low_w, high_w, limit)


def _slopes(fleet: Fleet, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(e(tau), -e' on the slower side, -e' on the quicker side), each (I,); the last is infinite at the top clock."""
    per_sample, low_w, high_w = (np.empty(len(fleet)) for _ in range(3))
    rows, tables = fleet.tables.rows, fleet.tables
    if len(rows):
        at = tau[rows, None]
        kinks = np.pad(tables.kinks_w(), ((0, 0), (1, 1)), constant_values=((0, 0), (np.inf, 0.0)))
        slower = (tables.tau_s <= at * (1 + _NEAR)).sum(axis=1)  # how many points lie at tau or before it
        quicker = (tables.tau_s < at * (1 - _NEAR)).sum(axis=1)
        per_sample[rows] = energy.hull_energy(tau[rows], tables.tau_s, tables.joules)
        low_w[rows] = np.take_along_axis(kinks, slower[:, None], axis=1)[:, 0]
        high_w[rows] = np.take_along_axis(kinks, quicker[:, None], axis=1)[:, 0]
    rows, curves = fleet.curves.rows, fleet.curves
    if len(rows):
        law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
        over = tau[rows] - curves.fixed_s
        per_sample[rows] = energy.joules_per_sample(tau[rows], *law)
        steep = curves.kappa * curves.cycles**3 * (2 * tau[rows] + curves.fixed_s) / over**4
        slope = np.maximum(steep - curves.power_static_w, 0.0)
        low_w[rows] = np.where(tau[rows] >= fleet.tau_idle_s[rows] * (1 - _NEAR), 0.0, slope)
        high_w[rows] = np.where(tau[rows] <= fleet.tau_min_s[rows] * (1 + _NEAR), np.inf, slope)
    return per_sample, low_w, high_w
