"""Batches that are made smaller where memory runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.errors import ResourceError
from server.synth.batches import Batches
from server.synth.generator import Stopped

SHAPE = (1, 1, 1)


class Room:
    """Has room for batches of `most`; an image is its class and seed added up."""

    def __init__(self, most: int, error: RuntimeError | None = None) -> None:
        self.most, self.error = most, error or torch.OutOfMemoryError("CUDA out of memory")
        self.sizes: list[int] = []

    def sample(self, classes: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        self.sizes.append(len(classes))
        if len(classes) > self.most:
            raise self.error
        return (classes + seeds).astype(np.uint8).reshape(-1, *SHAPE)


def test_a_batch_that_does_not_fit_is_halved_for_good_and_said_once() -> None:
    said: list[str] = []
    room, batches = Room(2), Batches(8, said.append)
    images = batches.run(np.full(11, 100), np.arange(11), SHAPE, room.sample)
    assert images.ravel().tolist() == list(range(100, 111))
    assert room.sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert said == ["a batch of 8 samples does not fit into memory: going on with batches of 4"]
    batches.run(np.zeros(4, int), np.arange(4), SHAPE, room.sample)
    assert room.sizes[8:] == [2, 2]


def test_half_is_half_of_what_was_tried() -> None:
    room = Room(2)
    Batches(100, [].append).run(np.zeros(5, int), np.arange(5), SHAPE, room.sample)
    assert room.sizes == [5, 2, 2, 1]


def test_a_cpus_allocator_has_no_error_of_its_own() -> None:
    room = Room(1, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ..."))
    Batches(2, [].append).run(np.zeros(2, int), np.arange(2), SHAPE, room.sample)
    assert room.sizes == [2, 1, 1]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Batches(2).run(
            np.zeros(2, int), np.arange(2), SHAPE, Room(1, RuntimeError("shapes cannot be multiplied")).sample
        )


def test_a_single_sample_that_does_not_fit_is_a_sentence() -> None:
    with pytest.raises(
        ResourceError, match=r"does not fit into memory, not even with a single sample at a time: free mem"
    ):
        Batches(3, [].append).run(np.zeros(3, int), np.arange(3), SHAPE, Room(0).sample)


def test_an_early_end_comes_before_the_next_batch() -> None:
    room = Room(9)
    with pytest.raises(Stopped):
        Batches(2).run(np.zeros(6, int), np.arange(6), SHAPE, room.sample, stop=lambda: len(room.sizes) == 2)
    assert room.sizes == [2, 2]


def test_nothing_asked_is_nothing_made() -> None:
    assert Batches(2).run(np.zeros(0, int), np.zeros(0, int), (4, 4, 3), Room(9).sample).shape == (0, 4, 4, 3)
