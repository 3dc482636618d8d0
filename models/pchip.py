"""A smooth curve through points that never overshoots them: piecewise cubic Hermite interpolation. Pure.

Slopes at inner points are the weighted harmonic mean of the chords' slopes beside them (0 where those differ in sign),
at the ends a one-sided difference kept from overshooting: Fritsch and Butland, "A method for constructing local
monotone piecewise cubic interpolants", SIAM J. Sci. Stat. Comput. 5 (1984), doi:10.1137/0905021. SciPy's
PchipInterpolator is the same curve; a board that fits its own sweep has NumPy alone.
"""

from __future__ import annotations

import numpy as np


def pchip(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The curve through (x, y), each (K,), K >= 2 and x ascending, read at `at` (N,) within [x[0], x[-1]]; (N,)."""
    width, chord = np.diff(x), np.diff(y) / np.diff(x)
    slope = _slopes(width, chord)
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    h, t = width[k], (at - x[k]) / width[k]
    return (
        y[k] * (1 + 2 * t) * (1 - t) ** 2
        + h * slope[k] * t * (1 - t) ** 2
        + y[k + 1] * t**2 * (3 - 2 * t)
        + h * slope[k + 1] * t**2 * (t - 1)
    )


def _slopes(width: np.ndarray, chord: np.ndarray) -> np.ndarray:
    if len(chord) == 1:
        return np.repeat(chord, 2)
    left, right = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    bends = chord[:-1] * chord[1:] > 0
    safe = np.where(bends[None, :], np.stack([chord[:-1], chord[1:]]), 1.0)
    inner = np.where(bends, (left + right) / (left / safe[0] + right / safe[1]), 0.0)
    first = _end(width[0], width[1], chord[0], chord[1])
    last = _end(width[-1], width[-2], chord[-1], chord[-2])
    return np.concatenate([[first], inner, [last]])


def _end(near_h: float, far_h: float, near: float, far: float) -> float:
    slope = ((2 * near_h + far_h) * near - near_h * far) / (near_h + far_h)
    if slope * near <= 0:
        return 0.0
    return 3 * near if near * far <= 0 and abs(slope) > 3 * abs(near) else slope
