"""The smooth curve: numbers by hand, SciPy's curve, and no overshoot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from models.pchip import pchip

STEPS = st.lists(st.floats(0.01, 10), min_size=1, max_size=7)


@st.composite
def knots(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    widths = draw(STEPS)
    count = len(widths) + 1
    y = draw(st.lists(st.floats(-10, 10), min_size=count, max_size=count))
    return np.concatenate([[0.0], np.cumsum(widths)]), np.round(np.array(y), 3)


def test_two_points_are_a_line_and_three_bend() -> None:
    assert pchip(np.array([1.0, 3.0]), np.array([2.0, 6.0]), np.array([1.5])) == pytest.approx([3.0])
    # chords 1 and 3 of one width: slopes 0 (end: 1.5 * 1 - 0.5 * 3), 1.5 (harmonic mean), 4
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 4.0])
    assert pchip(x, y, np.array([0.5, 1.5])) == pytest.approx([0.5 - 1.5 / 8, 2.5 + 1.5 / 8 - 4.0 / 8])


@given(knots())
def test_it_is_scipys_curve_and_stays_between_its_neighbours(points: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = points
    at = np.linspace(x[0], x[-1], 41)
    found = pchip(x, y, at)
    assert found == pytest.approx(PchipInterpolator(x, y)(at), abs=1e-9)
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    low, high = np.minimum(y[k], y[k + 1]), np.maximum(y[k], y[k + 1])
    assert np.all(found >= low - 1e-9) and np.all(found <= high + 1e-9)
