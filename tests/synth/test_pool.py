from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server.errors import DataError
from server.synth.pool import Pool, deal, draw


@settings(deadline=None, max_examples=50)
@given(counts=arrays(np.int64, (4, 3), elements=st.integers(0, 9)), seed=st.integers(0, 2**32))
def test_no_device_gets_a_sample_twice(counts: np.ndarray, seed: int) -> None:
    stock = counts.max(axis=0)
    hands = deal(counts, stock, seed=seed)
    for device, hand in enumerate(hands):
        for label, numbers in enumerate(hand):
            assert len(numbers) == counts[device, label]
            assert len(np.unique(numbers)) == len(numbers)
            assert (numbers < stock[label]).all()


def test_devices_share_no_sample_while_the_stock_lasts() -> None:
    counts = np.array([[3, 0], [2, 4], [1, 1]])
    hands = deal(counts, np.array([6, 5]), seed=0)
    for label in range(2):
        together = np.concatenate([hand[label] for hand in hands])
        assert sorted(together.tolist()) == list(range(counts[:, label].sum()))
    again = deal(counts, np.array([6, 5]), seed=0)
    assert all(np.array_equal(a, b) for x, y in zip(hands, again, strict=True) for a, b in zip(x, y, strict=True))


@settings(deadline=None, max_examples=50)
@given(counts=arrays(np.int64, (5, 1), elements=st.integers(0, 9)), stock=st.integers(9, 60), seed=st.integers(0, 99))
def test_samples_are_shared_evenly_once_they_must_be(counts: np.ndarray, stock: int, seed: int) -> None:
    hands = deal(counts, np.array([stock]), seed=seed)
    users = np.bincount(np.concatenate([hand[0] for hand in hands]), minlength=stock)
    assert users.max() <= max(1, -(-counts.sum() // stock) + 1)
    if counts.sum() <= stock:
        assert users.max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_count_leaves_what_devices_hold(seed: int) -> None:
    """Ten devices of 40 samples each. Dealt in one row, all after the fourth would move on."""

    def lost(before: np.ndarray, after: np.ndarray, stock: tuple[int, int]) -> list[int]:
        hands = [deal(own, np.array([n]), seed=seed) for own, n in zip((before, after), stock, strict=True)]
        return [len(set(a[0]) - set(b[0])) for a, b in zip(*hands, strict=True)]

    before = np.full((10, 1), 40)
    more, none = before.copy(), before.copy()
    more[3], none[3] = 45, 0
    assert lost(before, more, (2000, 2000)) == [0] * 10
    assert lost(before, none, (2000, 2000)) == [0, 0, 0, 40, 0, 0, 0, 0, 0, 0]
    assert sum(lost(before, none, (420, 420))) - 40 <= 60  # of 360, where all but twenty are in use
    assert sum(lost(before, before, (1000, 1050))) <= 60  # of 400, where 5 in a hundred samples are new


def test_another_seed_is_another_hand() -> None:
    hands = [deal(np.full((6, 1), 20), np.array([1200]), seed=seed) for seed in range(5)]
    seen = [set(np.concatenate([hand[0] for hand in own]).tolist()) for own in hands]
    assert max(len(seen[0] & other) for other in seen[1:]) <= 40  # of 120; by chance 12


def test_a_short_stock_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"device 1 wants 7 synthetic samples of class 0, the pool has 6"):
        deal(np.array([[1], [7]]), np.array([6]), seed=0)
    with pytest.raises(DataError, match="do not fit a pool of 2 classes"):
        deal(np.array([[1]]), np.array([6, 6]), seed=0)


def test_drawn_images_are_of_their_class() -> None:
    pool = Pool(
        "f" * 64, 0, 0, tuple(np.arange(10 * c, 10 * c + 4 + c, dtype=np.uint8)[:, None, None, None] for c in range(3))
    )
    (x, y), (x2, y2) = draw(pool, np.array([[2, 0, 3], [0, 0, 0]]), seed=1)
    assert y.tolist() == [0, 0, 2, 2, 2]
    assert (x[:, 0, 0, 0] // 10).tolist() == [0, 0, 2, 2, 2]
    assert x2.shape == (0, 1, 1, 1)
    assert y2.dtype == np.int64
