"""The root of one falling function, by Newton's method inside a bracket.

The slope only proposes; the bracket decides. Flat stretches are crossed in growing strides, kinks and jumps cost
bisections, never a wrong answer, and the end is on the side where the function is not positive.
"""

from __future__ import annotations

from collections.abc import Callable

_STRIDE = 2.0
_WIDTH = 1e-14  # of a bracket that is as good as a point


def falling_root(
    f: Callable[[float], tuple[float, float]], guess: float, near: float, least: float, most: float
) -> float:
    """x in [least, most] with f(x) in [-near, 0], f(x) giving (value, slope) and falling; where it jumps over that, the
    first x after; `least` where f never rises above 0, `most` where it never falls to it."""
    low, high, x, stride = -float("inf"), float("inf"), min(max(guess, least), most), _STRIDE
    width, before = float("inf"), float("inf")
    while True:
        value, slope = f(x)
        if -near <= value <= 0 or (x <= least and value <= 0) or (x >= most and value > 0):
            return x
        low, high = (x, high) if value > 0 else (low, x)
        if high - low <= _WIDTH * max(1.0, abs(x)):
            return high
        step = (-0.5 * near - value) / slope if slope < 0 else float("inf") * value
        slow = abs(value) > 0.5 * before
        if abs(step) >= stride or (slow and high - low == float("inf")):
            step = stride if value > 0 else -stride
            stride *= 2.0
        x = min(max(x + step, least), most)
        if high - low < float("inf") and (not low < x < high or high - low > 0.5 * width):
            x = 0.5 * (low + high)
        width, before = high - low, abs(value)
