from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server.errors import DataError
from server.synth.assess.features import stratified
from server.synth.assess.store import BLOCK, Drawn, StoredGenerator
from server.synth.generator import Stopped
from tests.synth.fake_generator import FakeGenerator


def test_nothing_is_drawn_twice_not_even_after_an_interruption(tmp_path: Path) -> None:
    classes, seeds = np.arange(250) % 3, np.arange(250)
    plain = FakeGenerator().sample(classes, seeds)
    inner = FakeGenerator(fail_after=150)
    with pytest.raises(KeyboardInterrupt):
        StoredGenerator(inner, tmp_path).sample(classes, seeds)
    assert len(inner.asked) == 2 * BLOCK
    told: list[Drawn] = []
    known = {(0, 249): plain[249]}
    inner = FakeGenerator()
    stored = StoredGenerator(inner, tmp_path, known=known, report=told.append)
    assert np.array_equal(stored.sample(classes, seeds), plain)
    assert len(inner.asked) == 49
    assert [(t.done, t.wanted, t.left_s) for t in told] == [(49, 49, 0.0)]
    assert stored.digest == inner.digest
    twice = np.array([2, 2]), np.array([7, 7])
    assert np.array_equal(stored.sample(*twice), FakeGenerator().sample(*twice))
    assert len(inner.asked) == 50
    assert stored.sample(np.zeros(0, int), np.zeros(0, int)).shape == (0, 8, 8, 1)
    with pytest.raises(Stopped):
        stored.sample(np.array([0]), np.array([9999]), lambda: True)


def test_another_generators_and_broken_blocks_are_refused(tmp_path: Path) -> None:
    inner = FakeGenerator()
    StoredGenerator(inner, tmp_path).sample(np.array([1]), np.array([1]))
    other = FakeGenerator()
    other.digest = inner.digest[:32] + "0" * 32
    with pytest.raises(DataError, match="of another generator"):
        StoredGenerator(other, tmp_path)
    (block,) = tmp_path.glob("*/block-00000.npz")
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(DataError, match="not a whole block"):
        StoredGenerator(inner, tmp_path)


def test_halves_and_samples_have_equal_numbers_of_each_class() -> None:
    test = np.array([0] * 21 + [1] * 8 + [2])
    made = np.array([0] * 5 + [1] * 9)
    first, second, own = stratified(np.random.default_rng(0), test, made, 4)
    # halves of 10 and 4; five samples of class 0 allow half of that: 5 and 2; class 2 has no half
    for labels in (test[first], test[second], made[own]):
        assert np.bincount(labels, minlength=4).tolist() == [5, 2, 0, 0]
    assert len({*first, *second}) == 14
    first, _, own = stratified(np.random.default_rng(0), test, np.repeat([0, 1], 50), 4)
    assert (len(first), len(own)) == (14, 14)
