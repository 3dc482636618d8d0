"""The laws of an upload, in x = L / (b*s), nats per second and hertz (L = bits * ln 2), and their inverses.

Where a radio may choose both b and s, the least priced joules lie at one of three places, each the root of a function
of x that is the same for everyone:
  inside            h(x)**2 / x                        = W * mu * eff**2 / (c**2 * L)
  on b = B          h(x)                               = eff * W / (c * B)
  on p = p_max      h(x)*(e**x-1)**2/(x**2*e**x)       = mu * p**2 / (c**2 * L * (p/eff + W))
with h(x) = (x-1)*e**x + 1 and W the watts paid per second (overhead and price). A fixed power is the third alone.
`spread` is for an upload of given power and seconds: (e**x - 1)/x = p*s/(c*L); `log_spread` the logarithm of that.
"""

from __future__ import annotations

import numpy as np

from models import radio
from server.plan.cubic import Inverse


def log_h(x: np.ndarray) -> np.ndarray:
    """ln h(x) for x > 0, also where h overflows."""
    return np.where(x < 40.0, np.log(radio.expm1_gap(np.minimum(x, 40.0))), x + np.log(np.maximum(x, 2.0) - 1.0))


def _log_expm1(x: np.ndarray) -> np.ndarray:
    return x + np.log(-np.expm1(-x))


def _slope_log_h(x: np.ndarray) -> np.ndarray:
    return x * np.exp(x - log_h(x))


def _slope_log_expm1(x: np.ndarray) -> np.ndarray:
    return -1.0 / np.expm1(-x)


def _log_mean(x: np.ndarray) -> np.ndarray:
    """ln((e**x - 1)/x); below 0.02 by its series, because the difference of logarithms would cancel."""
    return np.where(x < 0.02, x * (0.5 + x * (1 / 24 - x * x / 2880)), _log_expm1(x) - np.log(x))


def _slope_log_mean(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0.02, 0.5 + x * (1 / 12 - x * x / 720), _slope_log_expm1(x) - 1.0 / np.maximum(x, 0.01))


inside = Inverse(lambda x: 2 * log_h(x) - np.log(x), lambda x: 2 * _slope_log_h(x) - 1 / x)
on_band = Inverse(log_h, _slope_log_h)
on_power = Inverse(
    lambda x: log_h(x) + 2 * _log_expm1(x) - 2 * np.log(x) - x,
    lambda x: _slope_log_h(x) + 2 * _slope_log_expm1(x) - 2 / x - 1,
)
log_spread = Inverse(lambda x: np.log(_log_mean(x)), lambda x: _slope_log_mean(x) / _log_mean(x))


def spread(ratio: np.ndarray) -> np.ndarray:
    """x (N,) with (e**x - 1)/x = ratio (N,) > 1, to rounding."""
    return log_spread.exactly(np.log(np.log(ratio)))
