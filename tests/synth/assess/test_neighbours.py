from __future__ import annotations

import numpy as np
import pytest
import torch

from server.errors import DataError
from server.synth.assess.copies import (
    copy_shares,
    copy_threshold,
    nearness,
    pixels,
    planted_copies,
    views,
)
from server.synth.assess.manifold import manifold, radii, within
from server.synth.assess.neighbours import nearest
from server.synth.augment import augmented


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_the_nearest_are_found_in_order_and_across_pieces() -> None:
    distances, indices = nearest(column(0.0, 10.0), lambda: [column(1.0, 12.0, -3.0, 9.5)], 2)
    assert indices.tolist() == [[0, 2], [3, 1]]
    assert distances == pytest.approx(np.array([[1.0, 3.0], [0.5, 2.0]]), abs=1e-3)
    rng = np.random.default_rng(0)
    rows, among = rng.random((2503, 3)), rng.random((70, 3))
    slow = np.linalg.norm(rows[:, None] - among[None], axis=2)
    quick, where = nearest(rows, lambda: [among], 4)
    assert quick == pytest.approx(np.sort(slow, axis=1)[:, :4], abs=1e-3)
    assert np.array_equal(where[:, 0], slow.argmin(axis=1))


def test_precision_recall_and_coverage_by_hand() -> None:
    real = column(0, 1, 2, 3, 10, 11, 12, 13)
    assert radii(real, 3).tolist() == pytest.approx([3, 2, 2, 3, 3, 2, 2, 3], abs=1e-3)
    # balls of the four left ones reach from -3 to 6, of the right ones from 7 to 16
    inside = within(column(-4.0, 5.9, 6.5, 15.0), real, np.array([3, 2, 2, 3, 3, 2, 2, 3.0]))
    assert inside.tolist() == [False, True, False, True]
    # what is made lies on the left only, two of it nowhere near: six of eight are like real ones
    made = column(0, 0.5, 1, 1.5, 2, 2.5, 40, 41)
    found = manifold(real, made)
    assert found.precision == 6 / 8
    # each made ball has the radius of its third neighbour; those at 40, 41 reach back to 2 and over all the right side
    assert found.recall == 1.0
    # coverage is not fooled: of the right ones none has a made one within its fifth neighbour (a distance of 8 to 11)
    assert radii(real, 5).tolist() == pytest.approx([11, 10, 9, 8, 8, 9, 10, 11], abs=1e-3)
    # 10 is 7.5 from 2.5 and within its 8; 11 is 8.5 within 9; 12 is 9.5 within 10; 13 is 10.5 within 11: all reached
    assert found.coverage == 1.0
    # without 2, 2.5 the right ones are out of reach: 10 is 8.5 from 1.5, beyond 8
    assert manifold(real, column(0, 0.5, 1, 1.5, 1.5, 1.4, 40, 41)).coverage == 4 / 8
    with pytest.raises(DataError, match="6 samples or more"):
        manifold(real[:5], made)


def test_ratios_are_relative_to_how_dense_the_data_are() -> None:
    public = column(0, 1, 2, 100, 200, 300)  # fewer than K: all six count
    near = nearness(column(0.0, 1.0, 150.0), lambda: [public])
    assert near.ratio[0] == 0.0
    assert near.index.tolist()[:2] == [0, 1]
    # from 150 to the six: 150, 149, 148, 50, 50, 150, mean 697 / 6
    assert near.ratio[2] == pytest.approx(50 / (697 / 6), rel=1e-5)
    assert near.distance[2] == pytest.approx(50.0)
    assert nearness(column(5.0), lambda: [column(5.0, 5.0)]).ratio.tolist() == [0.0]
    with pytest.raises(DataError, match="fewer than two"):
        nearness(column(1.0), lambda: [column(1.0)])


def test_the_threshold_has_the_rate_that_it_says() -> None:
    held_out = np.arange(1, 1001) / 1000.0
    assert copy_threshold(held_out, 0.01) == 0.011  # ten of a thousand lie below
    assert (held_out < copy_threshold(held_out, 0.01)).mean() == 0.01
    assert copy_threshold(held_out[:50], 0.001) == 0.001  # few: nearer than all of them
    shares = copy_shares(np.array([0.0005, 0.5, 0.9, 0.04]), held_out, held_out, np.array([0.0, 0.003]))
    assert [(s.rate, s.made, s.planted) for s in shares] == [(0.001, 0.25, 0.5), (0.01, 0.25, 1.0), (0.05, 0.5, 1.0)]
    assert [s.held_out for s in shares] == pytest.approx([0.001, 0.01, 0.05])


def test_a_row_is_as_near_as_its_nearest_view() -> None:
    first, second = column(0.0, 10.0, 30.0), column(5.0, 90.0, 31.0)
    distances, indices = nearest(column(6.0, 80.0), lambda: [first, second], 2)
    assert indices.tolist() == [[0, 1], [1, 2]]  # 6 is 1 from 5 and 4 from 10; 80 is 10 from 90 and 49 from 31
    assert distances == pytest.approx(np.array([[1.0, 4.0], [10.0, 49.0]]), rel=1e-5)


def test_views_are_those_that_training_shows() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    assert [own[0, ..., 0].tolist() for own in views(image, mirror=True, shift=0)] == [
        [[0, 1, 2], [3, 4, 5]],
        [[2, 1, 0], [5, 4, 3]],
    ]
    moved = [own[0, ..., 0].tolist() for own in views(image, mirror=False, shift=1)]
    assert moved[0] == [[0, 1, 2], [3, 4, 5]]
    assert len(moved) == 9
    assert [[0, 0, 1], [0, 0, 1]] in moved  # down and right by one: the edge is repeated
    own = torch.from_numpy(np.repeat(image, 400, axis=0))
    shown = augmented(own, torch.Generator().manual_seed(0), mirror=True, shift=1).numpy()
    assert {x.tobytes() for x in shown} == {x.tobytes() for v in views(image, mirror=True, shift=1) for x in v}


@pytest.mark.parametrize(("mirror", "shift"), [(False, 0), (True, 0), (False, 1), (True, 1)])
def test_copies_of_what_training_showed_are_found_and_new_images_are_not(mirror: bool, shift: int) -> None:
    rng = np.random.default_rng(0)

    def images(n: int) -> np.ndarray:
        return rng.integers(0, 256, (n, 10, 10, 1), dtype=np.uint8)

    public, held_out, fresh = images(300), images(800), images(100)
    as_is, mirrored, moved = (
        public[:10],
        public[10:20, :, ::-1],
        np.pad(public[20:30], ((0, 0), (1, 0), (0, 0), (0, 0))),
    )
    made = np.concatenate([fresh, as_is, mirrored, moved[:, :10]])
    copies = planted_copies(public, mirror=mirror, shift=shift, n=30)
    ratios = [
        nearness(pixels(x), lambda: map(pixels, views(public, mirror=mirror, shift=shift))).ratio
        for x in (made, held_out[:400], held_out[400:], copies)
    ]
    strictest = copy_shares(*ratios)[0]
    found = 10 * (1 + mirror + (shift > 0))
    assert strictest.made * len(made) == pytest.approx(found, abs=2)  # a false alarm or two
    assert strictest.held_out <= 0.02
    assert strictest.planted == 1.0
    assert strictest.images == 400
