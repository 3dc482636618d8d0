"""A pool's samples for measurements: only those of the generator, the base seed and the darkness that is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server.errors import DataError
from server.synth.pool import load_pool
from server.synth.ready import black_below_of, ready_images, samples_of, seeds_of
from server.synth.store import Block, Kind, Store

KIND = Kind("a", 2, (4, 4, 1), black_below=8, block=2)


def shade(value: int) -> np.ndarray:
    return np.full((2, 4, 4, 1), value, np.uint8)


def test_what_lies_ready_is_of_the_same_samples(tmp_path: Path) -> None:
    assert ready_images(tmp_path, "a", 8) == {}
    assert black_below_of(Store(tmp_path), "it") is None
    store = Store(tmp_path)
    for first in (0, 2):
        store.write(KIND, Block(1, first), shade(10 + first))
    store.write(Kind("a", 2, (4, 4, 1), base_seed=5, black_below=8, block=2), Block(0, 0), shade(1))
    store.write(Kind("b", 2, (4, 4, 1), black_below=8, block=2), Block(0, 0), shade(2))
    assert black_below_of(Store(tmp_path), "it") == 8
    found = ready_images(tmp_path, "a", 8)
    assert list(found) == [1]  # there is none of class 0
    assert found[1][:, 0, 0, 0].tolist() == [10, 10, 12, 12]
    assert seeds_of(1, 4).tolist() == [*Block(1, 0).seeds(KIND).tolist(), *Block(1, 2).seeds(KIND).tolist()]
    assert ready_images(tmp_path, "a", 7) == {}  # pixels of 7 are gone from it
    assert list(ready_images(tmp_path, "a", 9)) == [1]


def test_of_two_kinds_the_fuller_one_is_taken_and_their_darkness_must_be_chosen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(KIND, Block(0, 0), shade(10))
    for label in (0, 1):
        store.write(Kind("a", 2, (4, 4, 1), black_below=0, block=2), Block(label, 0), shade(20))
    assert [own[0, 0, 0, 0] for own in ready_images(tmp_path, "a", 8).values()] == [20, 20]
    with pytest.raises(DataError, match=r"samples with black_below \[0, 8\]: set --black-below"):
        black_below_of(Store(tmp_path), "--black-below")


def test_a_pool_as_measurements_take_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for label in (0, 1):
        store.write(KIND, Block(label, 0), shade(10 + label))
    made = samples_of(load_pool(tmp_path))
    assert made.labels.tolist() == [0, 0, 1, 1]
    assert made.images[:, 0, 0, 0].tolist() == [10, 10, 11, 11]
    assert made.facts == {"generator": "a", "pool_base_seed": 0, "pool_black_below": 8}
