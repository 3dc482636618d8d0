"""Inverses of the four functions of x = nats per second and hertz that uploads come down to, as tables.

With h(x) = (x-1)*e**x + 1 (`models.radio.expm1_gap`):
  on_band   h                            inside    h**2/x
  on_power  h*(e**x-1)**2/(x**2*e**x)    spread    ln((e**x-1)/x)
All rise, and are nearly power laws for small x and exponentials for large. ln x over the logarithm of the value is
tabulated once with its slope, and read by cubic Hermite pieces: a search asks for millions of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from models import radio

LEAST_X, MOST_X = 1e-14, 600.0
_PIECES = 16_384

Values = Callable[[np.ndarray], np.ndarray]


def log_h(x: np.ndarray) -> np.ndarray:
    """ln h(x), also where e**x is too large for a float."""
    return np.where(x < 40.0, np.log(radio.expm1_gap(np.minimum(x, 40.0))), x + np.log(np.maximum(x, 2.0) - 1.0))


def _log_expm1(x: np.ndarray) -> np.ndarray:
    return x + np.log(-np.expm1(-x))


def _steep_h(x: np.ndarray) -> np.ndarray:
    """d ln h / d ln x = x**2 * e**x / h."""
    return x * x * np.exp(x - log_h(x))


def _steep_expm1(x: np.ndarray) -> np.ndarray:
    """d ln (e**x - 1) / d ln x."""
    return -x / np.expm1(-x)


def _spread(x: np.ndarray) -> np.ndarray:
    """ln((e**x - 1)/x) = x/2 + ln(sinh(x/2) / (x/2)); a series where the difference of logarithms would cancel."""
    series = 0.5 * x + x * x / 24 * (1 - x * x / 120)
    return np.where(x < 0.01, series, _log_expm1(x) - np.log(x))


def _steep_spread(x: np.ndarray) -> np.ndarray:
    """d ln of that / d ln x."""
    series = 0.5 + x / 12 * (1 - x * x / 60)
    return x * np.where(x < 0.01, series, -1.0 / np.expm1(-x) - 1.0 / x) / _spread(x)


class Inverse:
    """x in [1e-14, 600] with F(x) = value, from ln F and d ln F / d ln x; relative error below 1e-9."""

    def __init__(self, log_f: Values, steepness: Values):
        fine = np.linspace(np.log(LEAST_X), np.log(MOST_X), _PIECES)
        known = log_f(np.exp(fine))
        self._first, last = float(known[0]), float(known[-1])
        self._step = (last - self._first) / _PIECES
        wanted = self._first + self._step * np.arange(_PIECES + 1)
        log_x = np.interp(wanted, known, fine)
        for _ in range(3):  # Newton, to rounding
            x = np.exp(log_x)
            log_x = np.clip(log_x - (log_f(x) - wanted) / steepness(x), fine[0], fine[-1])
        slope = self._step / steepness(np.exp(log_x))
        rise = np.diff(log_x)
        self._terms = np.stack(
            [log_x[:-1], slope[:-1], 3 * rise - 2 * slope[:-1] - slope[1:], slope[:-1] + slope[1:] - 2 * rise]
        )

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """x of the shape of `value` >= 0; values outside F's range get the nearer end."""
        with np.errstate(divide="ignore"):
            place = (np.log(value) - self._first) / self._step
        place = np.clip(place, 0.0, _PIECES)
        piece = np.minimum(place.astype(np.int64), _PIECES - 1)
        u = place - piece
        a, b, c, d = (term[piece] for term in self._terms)
        return np.exp(a + u * (b + u * (c + u * d)))


@cache
def on_band() -> Inverse:
    return Inverse(log_h, _steep_h)


@cache
def inside() -> Inverse:
    return Inverse(lambda x: 2 * log_h(x) - np.log(x), lambda x: 2 * _steep_h(x) - 1)


@cache
def on_power() -> Inverse:
    return Inverse(
        lambda x: log_h(x) + 2 * _log_expm1(x) - 2 * np.log(x) - x,
        lambda x: _steep_h(x) + 2 * _steep_expm1(x) - 2 - x,
    )


@cache
def spread() -> Inverse:
    return Inverse(lambda x: np.log(_spread(x)), _steep_spread)
