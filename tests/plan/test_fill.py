from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.plan import fill as fill_module
from server.plan.fill import class_fill, entropy

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("local", "amount", "expected"),
    [
        ([10, 0, 4], 0, [0, 0, 0]),
        ([10, 0, 4], 4, [0, 4, 0]),  # the lowest class alone, up to the next
        ([10, 0, 4], 6, [0, 5, 1]),  # level 5
        ([10, 0, 4], 7, [0, 6, 1]),  # level 5.5: the left-over sample goes to the first class under water
        ([10, 0, 4], 16, [0, 10, 6]),  # up to the highest class
        ([10, 0, 4], 19, [1, 11, 7]),  # above it
        ([3, 3, 3], 2, [1, 1, 0]),
        ([5], 7, [7]),
        ([0, 0], 1, [1, 0]),
    ],
)
def test_by_hand(local, amount, expected):
    assert class_fill(np.array(local), amount).tolist() == expected


@given(COUNTS, st.integers(0, 200))
def test_keeps_the_sum_and_no_move_of_a_sample_is_more_even(local, amount):
    counts = np.array(local)
    fill = class_fill(counts, amount)
    assert fill.sum() == amount
    assert (fill >= 0).all()
    best = entropy(counts + fill)
    for source in np.flatnonzero(fill):
        for target in range(len(counts)):
            moved = fill.copy()
            moved[source] -= 1
            moved[target] += 1
            assert entropy(counts + moved) <= best + 1e-12


@pytest.mark.parametrize(("local", "amount"), [([1, 2], -1), ([-1, 2], 1)])
def test_refuses_negative_numbers(local, amount):
    with pytest.raises(ValueError, match="both must be 0 or more"):
        class_fill(np.array(local), amount)


def test_many_devices_at_once(monkeypatch):
    monkeypatch.setattr(fill_module, "_CHUNK", 7)
    rng = np.random.default_rng(0)
    counts, amounts = rng.integers(0, 20, (50, 4)), rng.integers(0, 40, 50)
    fills = class_fill(counts, amounts)
    assert (fills.dtype, fills.shape) == (np.int32, (50, 4))
    for row, amount, fill in zip(counts, amounts, fills, strict=True):
        assert fill.tolist() == class_fill(row, int(amount)).tolist()
    with pytest.raises(ValueError, match="both must be 0 or more"):
        class_fill(counts, amounts - 40)


def test_as_many_samples_as_a_count_holds():
    most = 2**31 - 1
    assert class_fill(np.array([[most, 0, 0]], dtype=np.int32), np.array([most])).tolist() == [[0, 2**30, 2**30 - 1]]


def test_entropy_by_hand():
    assert entropy(np.array([5, 5])) == pytest.approx(np.log(2))
    assert entropy(np.array([7, 0])) == 0.0
    assert entropy(np.array([0, 0])) == 0.0
