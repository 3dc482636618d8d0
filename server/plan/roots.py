"""Roots of many falling functions at once, by Chandrupatla's bracketing method (Adv. Eng. Softw. 28, 1997).

Bracketing only: a kink or a jump costs bisections, never a wrong answer, and the caller gets both ends of the last
bracket, which is what it needs to stand across a jump.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Values = Callable[[np.ndarray], np.ndarray]


def falling_root(
    f: Values, low: np.ndarray, high: np.ndarray, width: float, near: float = 0.0, max_steps: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """The ends (N,), (N,) of brackets with f(left) > 0 >= f(right), at most `width` wide or with f(right) >= -near.

    `f` maps (N,) to (N,), falls elementwise and may jump or be infinite; f(low) > 0 >= f(high) must hold already,
    or low == high where nothing is to be found.
    """
    a, b = high.astype(float), low.astype(float)
    fa, fb = f(a), f(b)
    c, fc = b.copy(), fb.copy()
    t = np.full_like(a, 0.5)
    for _ in range(max_steps):
        if np.all((np.abs(a - b) <= width) | ((fa <= 0) & (fa >= -near))):
            break
        x = a + t * (b - a)
        fx = f(x)
        same = (fx > 0) == (fa > 0)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        t = _next(a, b, c, fa, fb, fc, width)
    positive = fa > 0
    return np.where(positive, a, b), np.where(positive, b, a)


def _next(a, b, c, fa, fb, fc, width):  # type: ignore[no-untyped-def]
    """Where in (a, b) to look next, as a fraction: inverse quadratic where it is safe, else the middle."""
    with np.errstate(all="ignore"):
        xi = (a - b) / (c - b)
        phi = (fa - fb) / (fc - fb)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        least = np.minimum(0.5 * width / np.abs(a - b), 0.5)
    t = np.where(safe & np.isfinite(t), t, 0.5)
    least = np.where(np.isfinite(least), least, 0.5)
    return np.clip(t, least, 1.0 - least)
