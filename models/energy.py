"""Joules per sample over seconds per sample: the analytic law, a measured table's lower convex hull, two bases.

e(tau) is what training one sample costs when it takes tau seconds. Only the convex, falling part matters: a device that
has time to spare waits after the work instead of working slower than its cheapest point. Between two neighbours of a
table's hull lies time sharing: some samples at one clock, the rest at the next.

The energy basis decides which watts count (see `server.plan`): "board" takes everything while the task runs, "added"
takes what the task adds over idle.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)  # one value or one a device, alike


def seconds_per_sample(freq_hz: Number, fixed_s: Number, cycles: Number) -> Number:
    """tau(f) = a + w/f: seconds that do not scale with the clock plus cycles over hertz."""
    return fixed_s + cycles / freq_hz


def freq_for_seconds(tau_s: Number, fixed_s: Number, cycles: Number) -> Number:
    """f(tau) = w / (tau - a), the inverse of `seconds_per_sample` for tau > a."""
    return cycles / (tau_s - fixed_s)


def busy_power_w(freq_hz: Number, power_static_w: Number, kappa: Number) -> Number:
    """P(f) = P_s + kappa * f**3 while training, in watts."""
    return power_static_w + kappa * freq_hz**3


def joules_per_sample(tau_s: Number, fixed_s: Number, cycles: Number, power_static_w: Number, kappa: Number) -> Number:
    """The analytic e(tau) = tau * P(f(tau)) = P_s*tau + kappa*w**3*tau/(tau-a)**3, convex for tau > a."""
    return tau_s * busy_power_w(freq_for_seconds(tau_s, fixed_s, cycles), power_static_w, kappa)


def cheapest_freq(
    price_w: np.ndarray,
    fixed_s: np.ndarray,
    cycles: np.ndarray,
    power_static_w: np.ndarray,
    kappa: np.ndarray,
    freq_min_hz: np.ndarray,
    freq_max_hz: np.ndarray,
) -> np.ndarray:
    """The clock in [freq_min_hz, freq_max_hz] that minimises e(tau) + price_w * tau; price_w >= 0 in J/s, kappa > 0.

    The derivative vanishes where 3*kappa*a*f**4 + 2*kappa*w*f**3 = (P_s + price) * w. The left side is convex and
    rises, and without `a` the root is the cube root below, so Newton falls on it from the right without overshoot.
    """
    power = np.maximum(power_static_w + price_w, 0.0)
    freq = np.cbrt(power / (2.0 * kappa))
    slope_ratio = 1.5 * fixed_s / cycles  # the equation divided by 2*kappa*w: s*f**4 + f**3 = power / (2*kappa)
    wanted = power / (2.0 * kappa)
    for _ in range(60):
        value = freq**3 * (1.0 + slope_ratio * freq) - wanted
        slope = freq**2 * (3.0 + 4.0 * slope_ratio * freq)
        step = np.divide(value, slope, out=np.zeros_like(freq), where=slope > 0)
        freq = freq - step
        if np.all(np.abs(step) <= 1e-15 * freq):
            break
    return np.clip(freq, freq_min_hz, freq_max_hz)


def above_idle(joules: Number, tau_s: Number, power_idle_w: Number) -> Number:
    """Whole-board joules a sample to added ones: what remains above the idle floor over the sample's seconds."""
    return joules - power_idle_w * tau_s


def falling_hull(tau_s: np.ndarray, joules: np.ndarray) -> np.ndarray:
    """Indices of the lower convex hull's falling part, ascending in tau; the last is the cheapest point.

    `tau_s`, `joules` of shape (K,), K >= 1. Points above the hull (dominated by time sharing) and points slower than
    the cheapest are left out.
    """
    kept = np.flatnonzero(falling_hulls(tau_s[None, :], joules[None, :])[0])
    return kept[np.argsort(tau_s[kept])]


def falling_hulls(tau_s: np.ndarray, joules: np.ndarray) -> np.ndarray:
    """Which points (M, K) of M tables lie on the falling part of their lower convex hulls; tables (M, K), K >= 1.

    Wrapped from the quickest point on: the next one is where joules fall steepest, and of several in line the farthest.
    """
    rows = np.arange(len(tau_s))
    quickest = tau_s == tau_s.min(axis=1, keepdims=True)
    at = np.where(quickest, joules, np.inf).argmin(axis=1)
    kept = np.zeros(tau_s.shape, dtype=bool)
    while len(rows):
        kept[rows, at] = True
        ahead, rise = tau_s[rows] - tau_s[rows, at][:, None], joules[rows] - joules[rows, at][:, None]
        falls = (ahead > 0) & (rise < 0)
        slope = np.divide(rise, ahead, out=np.zeros_like(rise), where=falls)
        at = np.where(slope == slope.min(axis=1, keepdims=True), ahead, -np.inf).argmax(axis=1)
        going = falls.any(axis=1)
        rows, at = rows[going], at[going]
    return kept


def hull_energy(tau_s: np.ndarray, hull_tau_s: np.ndarray, hull_j: np.ndarray) -> np.ndarray:
    """e(tau) on hulls: tau_s (I,), hulls (I, K) ascending in tau and padded by repeating the last point; result (I,).

    Infinite left of the first point, constant right of the last (the device waits).
    """
    step = np.diff(hull_tau_s, axis=1)
    slope = np.divide(np.diff(hull_j, axis=1), step, out=np.zeros_like(step), where=step > 0)
    lines = hull_j[:, :-1] + slope * (tau_s[:, None] - hull_tau_s[:, :-1])
    value = np.maximum(lines.max(axis=1, initial=-np.inf), hull_j[:, -1])
    return np.where(tau_s >= hull_tau_s[:, 0], value, np.inf)
