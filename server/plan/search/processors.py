"""Processors under a price of error, for candidates (P, M): what they train in given seconds, and what that costs.

C(N, t) = N*e(t/N) joules for N = n*D trained samples in t seconds, waiting included; both kinds know the joules of a
point, the samples at which one more costs what is paid for it, and the slopes of C in N on both sides of a point.
"""

from __future__ import annotations

import numpy as np

from models import energy
from server.plan.fleet import Fleet

_KINK = 1e-9  # relative: how near to a table's point a device stands on it
_NEWTON_STEPS = 40


class Lines:
    """Tables: C is the greatest of lines A*N + m*t, ascending in A; line j holds until N = t*rate_j."""

    def __init__(self, fleet: Fleet):
        self.fleet, self.rows = fleet, fleet.tables.rows
        tau, joules = fleet.tables.tau_s[:, ::-1], fleet.tables.joules[:, ::-1]  # the cheapest clock first
        step = np.diff(tau, axis=1)
        slope = np.divide(np.diff(joules, axis=1), step, out=np.zeros_like(step), where=step < 0)
        flat = np.zeros((len(tau), 1))
        self.m = np.concatenate([flat, slope], axis=1)
        self.A = joules - self.m * tau
        self.rate = 1.0 / tau
        curve, local = fleet.curve, fleet.local[self.rows]
        # effective samples x at which A = price * alpha*beta * x**-(1+beta); A <= 0: no price is too low
        scale = np.where(self.A > 0, self.A, 0.0) / (curve.alpha * curve.beta)
        with np.errstate(divide="ignore"):
            self._unit = scale ** (-1.0 / (1.0 + curve.beta)) / fleet.eta
        self._offset = (local - local / fleet.eta)[:, None]

    def samples(self, price: np.ndarray, compute_s: np.ndarray, _guess: np.ndarray) -> np.ndarray:
        """D (R, M) where one more trained sample costs price (R, 1) times -err'(x): marginals rise with D, so it is the
        greatest of min(where line j's marginal is met, where line j ends)."""
        met = self._unit * price[:, :, None] ** (1.0 / (1.0 + self.fleet.curve.beta)) + self._offset
        return np.minimum(met, self._ends(compute_s)).max(axis=2, initial=0.0)

    def samples_for(self, paid: np.ndarray, compute_s: np.ndarray) -> np.ndarray:
        """D (R, M) where a trained sample is paid `paid` (R, 1) joules, whatever the amount."""
        return np.where(paid[:, :, None] > self.A, self._ends(compute_s), 0.0).max(axis=2, initial=0.0)

    def _ends(self, compute_s: np.ndarray) -> np.ndarray:
        return compute_s[:, :, None] * (self.rate / self.fleet.epochs)

    def joules(self, trained: np.ndarray, compute_s: np.ndarray) -> np.ndarray:
        if not len(self.rows):
            return np.zeros_like(trained)
        total = trained * self.A[:, 0]
        for j in range(1, self.A.shape[1]):
            total = np.maximum(total, _finite(self.A[:, j] * trained, self.m[:, j], compute_s))
        return total

    def sides(self, trained: np.ndarray, compute_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest slope of C in N at the points (P, M); no greatest at the highest clock."""
        place = trained[:, :, None] / (compute_s[:, :, None] * self.rate)
        below, over = (place > 1 + _KINK).sum(axis=2), (place >= 1 - _KINK).sum(axis=2)
        rows = np.arange(len(self.rows))
        steep = np.concatenate([self.A, np.full((len(self.rows), 1), np.inf)], axis=1)
        return steep[rows, np.minimum(below, self.A.shape[1] - 1)], steep[rows, over]


def _finite(cost: np.ndarray, slope: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """cost + slope*seconds, where endless time at no slope costs nothing."""
    return cost + np.where(slope == 0, 0.0, slope * np.where(slope == 0, 0.0, seconds))


class Laws:
    """Analytic processors: while no time is left over, C_N = 3*kappa*w**3*tau**2/(tau - a)**4 at tau = t/N."""

    def __init__(self, fleet: Fleet):
        self.fleet, self.curves, self.rows = fleet, fleet.curves, fleet.curves.rows
        curves = self.curves
        self.idle_s = fleet.tau_idle_s[self.rows]
        self._law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
        self.idle_j = energy.joules_per_sample(self.idle_s, *self._law)
        self.local, self.quick_s = fleet.local[self.rows], fleet.tau_min_s[self.rows]
        self._known = 3.0 * curves.kappa * curves.cycles**3

    def marginal(self, tau_s: np.ndarray) -> np.ndarray:
        """Joules of one more trained sample in the same time, (P, M)."""
        return self._known * tau_s**2 / (tau_s - self.curves.fixed_s) ** 4

    def samples(self, price: np.ndarray, compute_s: np.ndarray, guess: np.ndarray) -> np.ndarray:
        """D (R, M) where one more trained sample costs price (R, 1) times -err'(x): on idle time a closed form, else
        Newton in ln D from a guess (R, M).

        ln marginal + (1+beta) * ln x - ln price is convex and rises in ln D, so Newton overshoots at most once, to the
        right, and then falls on the root.
        """
        curve, eta, n = self.fleet.curve, self.fleet.eta, self.fleet.epochs
        paid = price * curve.alpha * curve.beta
        waiting = self.local + ((paid / self.idle_j) ** (1.0 / (1.0 + curve.beta)) - self.local) / eta
        edge, top = compute_s / (n * self.idle_s), compute_s / (n * self.quick_s)
        samples = np.clip(guess, edge, top)
        fixed, offset = n * self.curves.fixed_s, self.local * (1.0 - eta)
        known = self._known * (n * compute_s) ** 2 / paid
        for _ in range(_NEWTON_STEPS):
            left_s = compute_s - fixed * samples
            worth = offset + eta * samples
            value = np.log(known * samples**2 / left_s**4 * worth ** (1.0 + curve.beta))
            slope = 2.0 + 4.0 * fixed * samples / left_s + (1.0 + curve.beta) * eta * samples / worth
            moved = np.clip(samples * np.exp(-value / slope), edge, top)
            done = np.abs(moved - samples).max(initial=0.0) <= 1e-12 * samples.max(initial=1.0)
            samples = moved
            if done:
                break
        return np.where(waiting < edge, waiting, samples)

    def samples_for(self, paid: np.ndarray, compute_s: np.ndarray) -> np.ndarray:
        """D (R, M) where a trained sample is paid `paid` (R, 1) joules, whatever the amount: with v = tau - a, the
        marginal is met where v**2 * sqrt(paid/(3*kappa*w**3)) = v + a."""
        n = self.fleet.epochs
        root = np.sqrt(paid / self._known)
        tau = self.curves.fixed_s + (1.0 + np.sqrt(1.0 + 4.0 * root * self.curves.fixed_s)) / (2.0 * root)
        busy = compute_s / (n * np.clip(tau, self.quick_s, self.idle_s))
        return np.where(paid > self.idle_j, busy, 0.0)

    def joules(self, trained: np.ndarray, compute_s: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            tau = np.clip(np.where(trained > 0, compute_s / trained, np.inf), self.quick_s, self.idle_s)
        return trained * energy.joules_per_sample(tau, *self._law)

    def sides(self, trained: np.ndarray, compute_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest slope of C in N at the points (P, M); no greatest at the highest clock."""
        with np.errstate(divide="ignore", invalid="ignore"):
            tau = np.where(trained > 0, compute_s / trained, np.inf)
        inner = self.marginal(np.clip(tau, self.quick_s, self.idle_s))
        below = np.where(tau >= self.idle_s * (1 - _KINK), self.idle_j, inner)
        over = np.where(tau > self.idle_s * (1 + _KINK), self.idle_j, inner)
        return below, np.where(tau <= self.quick_s * (1 + _KINK), np.inf, over)
