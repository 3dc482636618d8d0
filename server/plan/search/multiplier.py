"""The price at which a falling excess vanishes, for a whole generation of candidates at once.

On logarithmic axes the excess of error or of medium over what is allowed is nearly a straight line in the price, so a
secant gets there in a few steps; bisection takes over where a secant leaves the bracket or hardly shrinks it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NEAR = 1e-9  # relative: what of the error or of the medium may be left unused
SLACK = 1e-12  # relative: what rounding may use too much
_JUMP = 1e-11  # e-folds between the two sides of a jump
_FURTHEST = 90.0  # e-folds that a price may lie from its guess
_STRIDE = 4.0  # e-folds of one step at most
_PATIENCE, _FIRST_STRIDE = 2, 0.05  # steps before a walk begins, and e-folds of its first
_USUAL_SLOPE = -0.5  # before two points are known
_STEPS = 100

Excess = Callable[[np.ndarray, np.ndarray], np.ndarray]


def log_prices_where(excess: Excess, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two ln prices (N,), (N,), from a guess (N,): at the second the excess is in [-NEAR, 0], and the first is the
    same; or the excess jumps over that, and they are the two sides of the jump.

    `excess(log_price (R,), rows (R,))` is asked for the rows still open only, falls in the price and may be infinite.
    Where it never falls to 0 the answer is the highest price tried, where it is never above, the lowest: the price then
    does not matter.
    """
    count = len(guess)
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    at, answer = guess.astype(float), guess.astype(float)
    before, value_before = np.full(count, np.nan), np.full(count, np.nan)
    rows = np.arange(count)
    for step in range(_STEPS):
        here = at[rows]
        value = excess(here, rows)
        above = value > 0
        low[rows] = np.where(above, here, low[rows])
        high[rows] = np.where(above, high[rows], here)
        answer[rows] = np.where(np.isfinite(high[rows]), high[rows], here)
        done = ~above & (value >= -NEAR) | (np.abs(here - guess[rows]) > _FURTHEST)
        done |= high[rows] - low[rows] <= _JUMP
        then = _next(here, value, before[rows], value_before[rows], low[rows], high[rows], step)
        before[rows], value_before[rows], at[rows] = here, value, then
        rows = rows[~done]
        if len(rows) == 0:
            break
    jumped = high - low <= _JUMP
    return np.where(jumped, low, answer), answer


def _next(
    here: np.ndarray,
    value: np.ndarray,
    before: np.ndarray,
    value_before: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    step: int,
) -> np.ndarray:
    """Where to look next: along the secant towards -NEAR/2, inside the bracket, at times its middle."""
    with np.errstate(all="ignore"):
        slope = (value - value_before) / (here - before)
        slope = np.where(np.isfinite(slope) & (slope < 0), slope, _USUAL_SLOPE)
        move = np.clip(-(value + 0.5 * NEAR) / slope, -_STRIDE, _STRIDE)
        closed = np.isfinite(low) & np.isfinite(high)
        if step >= _PATIENCE:  # on a plateau the line says little: walk, ever faster, until both sides are known
            stride = min(_FIRST_STRIDE * 2.0 ** (step - _PATIENCE), _STRIDE)
            move = np.where(closed, move, np.copysign(np.maximum(np.abs(move), stride), value))
        then = here + np.where(np.isnan(move), _STRIDE, move)
        middle = 0.5 * (low + high)
        bisect = closed & ((then <= low) | (then >= high) | (step % 4 == 3))
    return np.where(bisect, middle, then)
