from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server.data.tiles import tile, untile
from server.errors import DataError
from server.synth.generator import Stopped
from server.synth.pool import Pool, deal, draw, empty_pool, grow, load_pool, sample_seed, save_pool
from tests.synth.fake_generator import FakeGenerator


def new() -> Pool:
    return empty_pool("f" * 64, 3, (8, 8, 1))


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


def test_a_short_stock_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"device 1 wants 7 synthetic samples of class 0, the pool has 6"):
        deal(np.array([[1], [7]]), np.array([6]), seed=0)
    with pytest.raises(DataError, match="do not fit a pool of 2 classes"):
        deal(np.array([[1]]), np.array([6, 6]), seed=0)


def test_drawn_images_are_of_their_class() -> None:
    pool = grow(new(), FakeGenerator(), np.array([4, 5, 6]))
    (x, y), (x2, y2) = draw(pool, np.array([[2, 0, 3], [0, 0, 0]]), seed=1)
    assert y.tolist() == [0, 0, 2, 2, 2]
    assert x2.shape == (0, 8, 8, 1)
    assert y2.dtype == np.int64
    own = {image.tobytes() for image in pool.images[2]}
    assert all(image.tobytes() in own for image in x[2:])


def test_growing_in_steps_makes_the_same_pool_and_asks_for_no_sample_twice(tmp_path: Path) -> None:
    at_once = grow(new(), FakeGenerator(), np.array([7, 2, 5]), block=4)
    generator = FakeGenerator()
    steps = grow(new(), generator, np.array([3, 0, 5]), folder=tmp_path, block=4)
    steps = grow(load_pool(tmp_path), generator, np.array([7, 2, 1]), folder=tmp_path, block=4)
    assert steps.counts.tolist() == [7, 2, 5]
    assert len(set(generator.asked)) == len(generator.asked) == 14
    for pool in (steps, load_pool(tmp_path)):
        assert all(np.array_equal(a, b) for a, b in zip(pool.images, at_once.images, strict=True))
    assert sorted(p.name for p in tmp_path.glob("*.png")) == [
        "class-00-00007.png", "class-01-00002.png", "class-02-00005.png"
    ]  # fmt: skip


def test_an_interrupted_synthesis_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        grow(new(), FakeGenerator(fail_after=8), np.array([6, 6, 6]), folder=tmp_path, block=4)
    assert load_pool(tmp_path).counts.tolist() == [6, 4, 0]
    generator = FakeGenerator()
    seen = []
    pool = grow(load_pool(tmp_path), generator, np.array([6, 6, 6]), folder=tmp_path, block=4, report=seen.append)
    assert len(generator.asked) == 8
    assert (seen[-1].done, seen[-1].wanted) == (18, 18)
    whole = grow(new(), FakeGenerator(), np.array([6, 6, 6]))
    assert all(np.array_equal(a, b) for a, b in zip(pool.images, whole.images, strict=True))


def test_a_synthesis_that_is_asked_to_stop_keeps_its_whole_blocks(tmp_path: Path) -> None:
    generator = FakeGenerator()
    with pytest.raises(Stopped):
        grow(new(), generator, np.array([6, 6, 6]), folder=tmp_path, block=4, stop=lambda: len(generator.asked) >= 4)
    assert load_pool(tmp_path).counts.tolist() == [4, 0, 0]


def test_a_leftover_smaller_mosaic_does_no_harm(tmp_path: Path) -> None:
    pool = grow(new(), FakeGenerator(), np.array([4, 4, 4]), folder=tmp_path)
    old = (tmp_path / "class-00-00004.png").read_bytes()
    grow(pool, FakeGenerator(), np.array([6, 4, 4]), folder=tmp_path)
    (tmp_path / "class-00-00004.png").write_bytes(old)
    assert load_pool(tmp_path).counts.tolist() == [6, 4, 4]


def test_pools_of_other_generators_are_not_mixed(tmp_path: Path) -> None:
    save_pool(tmp_path, new())
    with pytest.raises(DataError, match="pool of another generator or other settings"):
        save_pool(tmp_path, empty_pool("e" * 64, 3, (8, 8, 1)))
    with pytest.raises(DataError, match="made by another generator"):
        grow(empty_pool("e" * 64, 3, (8, 8, 1)), FakeGenerator(), np.array([1, 1, 1]))


def test_what_is_no_pool_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fimi-server synth-pool"):
        load_pool(tmp_path)
    (tmp_path / "pool.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        load_pool(tmp_path)
    (tmp_path / "pool.json").write_text("[]")
    with pytest.raises(DataError, match="not a pool of this format"):
        load_pool(tmp_path)
    (tmp_path / "pool.json").unlink()
    save_pool(tmp_path, new())
    (tmp_path / "class-01-00009.png").write_bytes(b"torn")
    with pytest.raises(DataError, match="not a whole PNG"):
        load_pool(tmp_path)


def test_faint_noise_can_be_made_black_and_is_recorded(tmp_path: Path) -> None:
    plain = grow(new(), FakeGenerator(), np.array([2, 0, 0]))
    clean = empty_pool("f" * 64, 3, (8, 8, 1), black_below=100)
    grow(clean, FakeGenerator(), np.array([2, 0, 0]), folder=tmp_path)
    clean = load_pool(tmp_path)
    assert clean.black_below == 100
    assert np.array_equal(clean.images[0], np.where(plain.images[0] < 100, 0, plain.images[0]))


def test_seeds_of_a_pool_are_all_different_and_fit_int64() -> None:
    seeds = {sample_seed(base, label, k) for base in (0, 1) for label in range(50) for k in (0, 1, 9999)}
    assert len(seeds) == 300
    assert sample_seed(2**20, 1000, 50_000_000) < 2**63
    assert sample_seed(3, 2, 7) == 3 * 2**42 + 2 * 2**26 + 7  # what shipped pools were made with


@pytest.mark.parametrize("base", [2**21, 2**31 + 1, 2**63])
def test_a_pool_of_a_large_seed_can_grow(base: int) -> None:
    seeds = {sample_seed(own, label, k) for own in (base, base + 1) for label in range(20) for k in range(100)}
    assert len(seeds) == 4000
    assert 0 <= min(seeds) <= max(seeds) < 2**63
    pool = grow(empty_pool("f" * 64, 2, (8, 8, 1), base_seed=base), FakeGenerator(2), np.array([2, 1]))
    assert pool.counts.tolist() == [2, 1]


@given(n=st.integers(0, 11), channels=st.sampled_from([1, 3]))
def test_mosaics_keep_every_image(n: int, channels: int) -> None:
    images = np.random.default_rng(n).integers(0, 256, (n, 4, 6, channels), dtype=np.uint8)
    assert np.array_equal(untile(tile(images, 5), n, (4, 6, channels)), images)
