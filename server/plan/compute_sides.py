"""Processors when a second costs `price_w` joules: the clock of the least priced joules, over all the clocks there are.

A side holds N devices of one form. On a table e(tau) + price*tau is the lower envelope of K lines: between two prices
(kinks) one point of the hull is the cheapest, and at a kink two neighbours cost the same, with everything between them.
On the analytic law the best clock is the root of one quartic that is the same for everyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from server.plan.cubic import STEP, Cubic

_NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Pace:
    """Seconds per sample of the least priced joules, arrays (N,): from `quick_s` to `slow_s` (apart at a kink only),
    `priced_j` = e(tau) + price*tau, and d tau / d price (s/W), at most 0."""

    quick_s: np.ndarray
    slow_s: np.ndarray
    priced_j: np.ndarray
    by_price: np.ndarray


class ComputeSide(Protocol):
    """Processors of one form."""

    def at(self, price_w: np.ndarray) -> Pace:
        """The best paces at prices (N,) >= 0."""
        ...

    def affordable_w(self, gain_j: float) -> np.ndarray:
        """The price of a second (N,) at which a sample's joules, its time paid, are gain_j; below 0 where they are more
        even when time costs nothing."""
        ...

    def kink_w(self, price_w: np.ndarray) -> np.ndarray:
        """The kink nearest to prices (N,); infinite where there are none."""
        ...

    def stop(self, price_w: np.ndarray, target_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The middle one of the kinks on the way from prices to targets (N,), the target where there is none; and
        the devices (M,) that are stopped by a kink."""
        ...


@dataclass(frozen=True)
class TableSide:
    """Hulls (K, N), ascending in tau, and the falling prices (K-1, N) at which neighbours cost the same; 0: padding."""

    tau_s: np.ndarray
    joules: np.ndarray
    kinks_w: np.ndarray

    def at(self, price_w: np.ndarray) -> Pace:
        quick, slow = self._points(price_w)
        tau_s = self._of(self.tau_s, quick)
        slow_s = tau_s.copy()
        apart = np.flatnonzero(slow != quick)
        slow_s[apart] = self.tau_s[slow[apart], apart]
        return Pace(tau_s, slow_s, self._of(self.joules, quick) + price_w * tau_s, np.zeros_like(tau_s))

    def affordable_w(self, gain_j: float) -> np.ndarray:
        best: np.ndarray = ((gain_j - self.joules) / self.tau_s).max(axis=0)
        return best

    def kink_w(self, price_w: np.ndarray) -> np.ndarray:
        nearest = np.full_like(price_w, np.inf)
        for kink in self.kinks_w:
            nearest = np.where(np.abs(kink - price_w) < np.abs(nearest - price_w), kink, nearest)
        return nearest

    def stop(self, price_w: np.ndarray, target_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rising = target_w > price_w
        (quick, slow), (quick_there, slow_there) = self._points(price_w), self._points(target_w)
        here, there = np.where(rising, quick, slow), np.where(rising, quick_there, slow_there)
        crossed = np.flatnonzero(here != there)
        if len(crossed):
            target_w = target_w.copy()
            target_w[crossed] = self.kinks_w[(here[crossed] + there[crossed] - 1) // 2, crossed]
        return target_w, crossed

    def _points(self, price_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The quickest and the slowest of the cheapest points (N,): as many as there are kinks above the price."""
        quick = np.zeros(len(price_w), dtype=np.int16)
        slow = np.zeros(len(price_w), dtype=np.int16)
        for kink in self.kinks_w:
            quick += kink > price_w
            slow += kink >= price_w
        return quick, slow

    def _of(self, columns: np.ndarray, point: np.ndarray) -> np.ndarray:
        count = columns.shape[1]
        return columns.ravel().take(point * np.int64(count) + np.arange(count))


@dataclass(frozen=True)
class CurveSide:
    """The law P(f) = power_static_w + kappa*f**3, tau = fixed_s + cycles/f: coefficients (N,)."""

    fixed_s: np.ndarray
    cycles: np.ndarray
    power_static_w: np.ndarray
    kappa: np.ndarray
    freq_min_hz: np.ndarray
    freq_max_hz: np.ndarray
    log_scale: np.ndarray  # ln(1 / (2*kappa))
    log_fixed: np.ndarray  # 3 * ln(1.5 * fixed_s / cycles)

    def at(self, price_w: np.ndarray) -> Pace:
        """Where 3*kappa*a*f**4 + 2*kappa*w*f**3 = (P_s + price)*w: with r = 1.5*a/w the clock is
        (P/(2*kappa))**(1/3) * slowing(ln(r**3 * P/(2*kappa)))."""
        power_w = self.power_static_w + price_w
        cube = np.log(np.maximum(power_w, 0.0)) + self.log_scale
        slowing, _ = _slowing()(cube + self.log_fixed)
        free_hz = np.exp(cube * (1.0 / 3.0) + slowing)
        freq_hz = np.clip(free_hz, self.freq_min_hz, self.freq_max_hz)
        period_s = self.cycles / freq_hz
        tau_s = self.fixed_s + period_s
        drawn_w = self.kappa * (freq_hz * freq_hz * freq_hz)
        # d tau / d price = -w**2 / (6 * kappa * f**4 * (2*a*f + w)), 0 at either end of the clocks
        steep = 6.0 * drawn_w * (2.0 * self.fixed_s + period_s)
        by_price = np.where(free_hz == freq_hz, -(period_s * period_s) / steep, 0.0)
        return Pace(tau_s, tau_s, tau_s * (drawn_w + power_w), by_price)

    def affordable_w(self, gain_j: float) -> np.ndarray:
        """At the best clock a sample with its time costs 3*kappa*w*f**2*(1 + a*f/w)**2: f*(1 + a*f/w) is known."""
        root_hz = np.sqrt(gain_j / (3.0 * self.kappa * self.cycles))
        free_hz = 2.0 * root_hz / (1.0 + np.sqrt(1.0 + 4.0 * (self.fixed_s / self.cycles) * root_hz))
        freq_hz = np.clip(free_hz, self.freq_min_hz, self.freq_max_hz)
        tau_s = self.fixed_s + self.cycles / freq_hz
        return gain_j / tau_s - self.kappa * freq_hz**3 - self.power_static_w

    def kink_w(self, price_w: np.ndarray) -> np.ndarray:
        return np.full_like(price_w, np.inf)

    def stop(self, _price_w: np.ndarray, target_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return target_w, _NOBODY


@cache
def _slowing() -> Cubic:
    """-ln(1 + u)/3 over ln(u**3 * (1 + u)): how far the part of a sample that no clock shortens lowers the best one."""
    u = np.exp(np.linspace(-30.0, 70.0, 6000))
    known = 3.0 * np.log(u) + np.log1p(u)
    wanted = np.arange(known[0], known[-1], STEP)
    log_u = np.interp(wanted, known, np.log(u))
    for _ in range(4):
        u = np.exp(log_u)
        log_u = log_u - (3.0 * log_u + np.log1p(u) - wanted) * (1.0 + u) / (3.0 + 4.0 * u)
    u = np.exp(log_u)
    return Cubic(float(wanted[0]), -np.log1p(u) / 3.0, -u / (9.0 + 12.0 * u))
