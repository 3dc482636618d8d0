from __future__ import annotations

import math

import numpy as np
import pytest

from models import learning_curve


def test_synthetic_samples_count_eta_of_a_real_one():
    worth = learning_curve.effective_samples(np.array([10.0, 0.0]), np.array([30.0, 8.0]), 0.25)
    assert worth.tolist() == [15.0, 2.0]


def test_error_by_hand():
    # 3 * 16**-0.5 + 0.1 = 0.75 + 0.1; at 1 sample alpha + gamma
    assert learning_curve.error(np.array([16.0, 1.0]), 3.0, 0.5, 0.1).tolist() == pytest.approx([0.85, 3.1])


def test_error_without_data_is_infinite_and_warns_of_nothing():
    assert learning_curve.error(np.array([0.0]), 3.0, 0.5, 0.1).tolist() == [math.inf]
    assert learning_curve.error_slope(np.array([0.0]), 3.0, 0.5).tolist() == [-math.inf]


def test_slope_by_hand():
    # -3 * 0.5 * 4**-1.5 = -1.5 / 8
    assert learning_curve.error_slope(np.array([4.0]), 3.0, 0.5).tolist() == pytest.approx([-0.1875])


def test_samples_for_error_inverts_error():
    assert learning_curve.samples_for_error(0.85, 3.0, 0.5, 0.1) == pytest.approx(16.0)


@pytest.mark.parametrize("target", [0.1, 0.05])
def test_no_amount_of_data_reaches_the_floor(target):
    assert learning_curve.samples_for_error(target, 3.0, 0.5, 0.1) == math.inf


def test_samples_for_slope_inverts_slope():
    assert learning_curve.samples_for_slope(np.array([0.1875]), 3.0, 0.5).tolist() == pytest.approx([4.0])
    assert learning_curve.samples_for_slope(np.array([0.0]), 3.0, 0.5).tolist() == [math.inf]
