"""Numbers by hand, and what must hold for any updates."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_client.protocol.errors import ProtocolError
from server.rounds.aggregate import WeightedMean

OLD = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([[10.0]], np.float32)}


def change(a: float, b: float) -> dict[str, np.ndarray]:
    return {"a": np.array([a, 2 * a], np.float32), "b": np.array([[b]], np.float32)}


def test_two_updates_by_hand() -> None:
    """(100 * 1 + 300 * 5) / 400 = 4; (100 * 2 + 300 * -2) / 400 = -1."""
    mean = WeightedMean(OLD)
    mean.add(change(1.0, 2.0), 100)
    mean.add(change(5.0, -2.0), 300)
    new = mean.moved(OLD)
    np.testing.assert_array_equal(new["a"], [5.0, 10.0])
    np.testing.assert_array_equal(new["b"], [[9.0]])
    assert (mean.weight, mean.updates) == (400.0, 2)
    assert {array.dtype for array in new.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(OLD["a"], [1.0, 2.0])


def test_nothing_added_moves_nothing_and_returns_a_copy() -> None:
    new = WeightedMean(OLD).moved(OLD)
    np.testing.assert_array_equal(new["a"], OLD["a"])
    assert new["a"] is not OLD["a"]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_must_be_positive(weight: float) -> None:
    with pytest.raises(ProtocolError, match="must be positive"):
        WeightedMean(OLD).add(change(1.0, 1.0), weight)


def test_what_is_refused_leaves_the_sum_as_it_was() -> None:
    mean = WeightedMean(OLD)
    mean.add(change(1.0, 1.0), 1)
    with pytest.raises(ProtocolError, match="'b' holds values that are not finite"):
        mean.add(change(1.0, float("inf")), 1)
    with pytest.raises(ProtocolError, match="do not fit"):
        mean.add({"a": OLD["a"]}, 1)
    with pytest.raises(ProtocolError, match="shape"):
        mean.add({"a": OLD["b"], "b": OLD["b"]}, 1)
    assert (mean.weight, mean.updates) == (1.0, 1)
    np.testing.assert_array_equal(mean.moved(OLD)["a"], [2.0, 4.0])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ProtocolError):
        WeightedMean(OLD).moved({"a": OLD["a"]})


values = hnp.arrays(np.float32, 4, elements=st.floats(-100, 100, width=32))
updates = st.lists(st.tuples(values, st.integers(1, 10_000)), min_size=1, max_size=8)


@given(updates, st.randoms(use_true_random=False))
def test_the_order_changes_nothing_that_float32_could_show(given_updates: list, random: object) -> None:
    shuffled = list(given_updates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    zero = {"w": np.zeros(4, np.float32)}
    results = []
    for order in (given_updates, shuffled):
        mean = WeightedMean(zero)
        for array, weight in order:
            mean.add({"w": array}, weight)
        results.append(mean.moved(zero)["w"])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6, atol=1e-12)


@given(updates)
def test_the_mean_lies_between_its_updates(given_updates: list) -> None:
    zero = {"w": np.zeros(4, np.float32)}
    mean = WeightedMean(zero)
    for array, weight in given_updates:
        mean.add({"w": array}, weight)
    stack = np.stack([array for array, _ in given_updates])
    moved = mean.moved(zero)["w"]
    assert (moved >= stack.min(axis=0) - 1e-4).all()
    assert (moved <= stack.max(axis=0) + 1e-4).all()


def test_memory_does_not_grow_with_the_number_of_devices() -> None:
    reference = {"w": np.zeros(50_000, np.float32)}
    mean = WeightedMean(reference)
    update = {"w": np.ones(50_000, np.float32)}
    mean.add(update, 1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(50):
        mean.add(update, 1)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 50_000  # bytes; one update has 200,000
