"""Cutting planes: where they meet highest by hand, and prices at which answers jump."""

from __future__ import annotations

import numpy as np
import pytest

from server.plan.bundle import Cut, Hunt, peak
from server.plan.points import Points, Step
from server.plan.secant import Course


def cut(price: float, value_j: float, lack: float) -> Cut:
    one = np.array([price])
    return Cut(one, value_j, np.array([lack]), Step(price, 0.0, Points(one, one, one, one), one, one))


RISING, FALLING = cut(1.0, 3.0, 2.0), cut(4.0, 6.0, -1.0)  # 1 + 2p and 10 - p meet at p = 3, 7 J


def test_two_cuts_meet():
    found = peak([RISING, FALLING], np.array([0.5]), np.array([8.0]))
    assert found.prices == pytest.approx([3.0])
    assert found.height_j == pytest.approx(7.0)
    assert found.weights == pytest.approx([1 / 3, 2 / 3])  # 2/3 - 2/3: nothing is lacking
    assert found.bought == pytest.approx([0.0])
    assert found.sold == pytest.approx([0.0])


def test_a_box_ends_the_climb():
    found = peak([RISING], np.array([0.5]), np.array([2.0]))
    assert found.prices == pytest.approx([2.0])
    assert found.height_j == pytest.approx(5.0)
    assert found.bought == pytest.approx([2.0])  # what the one answer lacks


def test_a_box_ends_it_from_above_too():
    found = peak([FALLING], np.array([0.5]), np.array([8.0]))
    assert (found.prices, found.height_j) == (pytest.approx([0.5]), pytest.approx(9.5))
    assert found.sold == pytest.approx([1.0])


def test_three_planes_meet_in_two_prices():
    # min(p, q, 4 - p - q) is highest at p = q = 4/3
    def plane(value_j, lack):
        one = np.ones(2)
        return Cut(one, value_j, np.array(lack), Step(1.0, 1.0, Points(one, one, one, one), one, one))

    found = peak(
        [plane(1.0, [1.0, 0.0]), plane(1.0, [0.0, 1.0]), plane(2.0, [-1.0, -1.0])], np.full(2, 0.1), np.full(2, 9.0)
    )
    assert found.prices == pytest.approx([4 / 3, 4 / 3])
    assert found.height_j == pytest.approx(4 / 3)
    assert found.weights == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_the_hunt_ends_where_the_best_bound_and_the_blend_agree():
    hunt = Hunt(np.zeros(1), np.full(1, 1e-9), 1e-6)
    hunt.add(RISING)
    hunt.add(FALLING)
    assert not hunt.done(hunt.top())  # 7 J can be had, 6 J are the best bound yet
    hunt.add(cut(3.0, 7.0, 2.0))  # asked at the meeting point: the same rising plane
    top = hunt.top()
    assert hunt.done(top)
    blended = hunt.blend(top)
    assert blended.price_error_j == 3.0  # the bound is that of the best prices
    assert blended.points.samples == pytest.approx(sum(top.weights * [1.0, 4.0, 3.0]))


def test_slopes_between_points_are_learned():
    """An excess of 1 - 3u that claims a slope of -1: three times too far first, then straight there."""
    course, at = Course(None, 0.0), np.array([0.25])
    for _ in range(2):
        course.add(at, 1.0 - 3.0 * at, np.array([[-1.0]]))
        at = course.next()
    assert at == pytest.approx([1 / 3], abs=1e-4)
    assert course.steep[0, 0] == pytest.approx(-3.0)


def test_steps_that_get_no_nearer_are_given_up():
    course = Course(None, 0.0)
    for at in (0.1, 0.2, 0.3):
        course.add(np.array([at]), np.array([1.0]), np.array([[-1.0]]))
    assert course.next() is None
