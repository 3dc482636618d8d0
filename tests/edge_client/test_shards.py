"""Synthetic samples as bytes and back: their names, their lists, their pixels."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.protocol import pixels, shards
from edge_client.protocol.errors import ProtocolError

X = np.arange(2 * 3 * 4 * 1, dtype=np.uint8).reshape(2, 3, 4, 1)
Y = np.array([1, 0])


def samples(n: int, height: int, width: int, channels: int, seed: int, smooth: bool) -> tuple[np.ndarray, np.ndarray]:
    """Noise, or slopes with a little noise on them, as images are."""
    rng = np.random.default_rng(seed)
    shape = (n, height, width, channels)
    if not smooth:
        return rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 10, n)
    slopes = rng.integers(0, 9, (n, 1, 1, channels)) * (np.arange(height)[:, None, None] + np.arange(width)[:, None])
    return (slopes + rng.integers(0, 3, shape)).astype(np.uint8), rng.integers(0, 10, n)


# ---- pixels --------------------------------------------------------------------------------------------------------


def test_what_each_filter_leaves() -> None:
    image = np.array([[[10], [12]], [[13], [11]]], np.uint8)[None]  # a = 13, b = 12, c = 10 foretell the last pixel
    assert pixels.filtered(image, pixels.NONE) == bytes([10, 12, 13, 11])
    assert pixels.filtered(image, pixels.UP) == bytes([10, 12, 3, 255])  # 11 - 12
    assert pixels.filtered(image, pixels.MEDIAN) == bytes([10, 2, 3, 254])  # 13 + 12 - 10 = 15 is beyond 13: 11 - 13
    colour = np.array([10, 200, 30], np.uint8).reshape(1, 1, 1, 3)
    assert pixels.filtered(colour, pixels.NONE) == bytes([66, 200, 86])  # 10 - 200 and 30 - 200, modulo 256


@settings(deadline=None)
@given(
    st.integers(0, 5), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 3]), st.integers(0, 2**32 - 1),
    st.booleans(),
)  # fmt: skip
def test_shards_come_back(n: int, height: int, width: int, channels: int, seed: int, smooth: bool) -> None:
    images, labels = samples(n, height, width, channels, seed, smooth)
    blob = shards.pack_shard(images, labels.astype(np.uint8))
    assert blob == shards.pack_shard(images, labels)
    assert len(blob) <= shards.most_bytes(images.shape[1:], n)
    back_images, back_labels = shards.unpack_shard(blob)
    np.testing.assert_array_equal(back_images, images)
    np.testing.assert_array_equal(back_labels, labels)
    assert (back_images.dtype, back_labels.dtype) == (np.uint8, np.int64)
    for filter_ in pixels.FILTERS:
        back = pixels.unfiltered(pixels.filtered(images, filter_), images.shape, filter_)
        np.testing.assert_array_equal(back, images)


def test_more_than_a_group_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "GROUP", 4)
    images, labels = samples(11, 3, 4, 3, seed=1, smooth=True)
    np.testing.assert_array_equal(shards.unpack_shard(shards.pack_shard(images, labels))[0], images)


def test_smooth_images_become_smaller_than_by_deflating_them() -> None:
    images, labels = samples(200, 16, 16, 3, seed=2, smooth=True)
    import zlib

    assert len(shards.pack_shard(images, labels)) < 0.6 * len(zlib.compress(images.tobytes(), 9))


def header(filter_: int = 0, shape: tuple[int, int, int] = (3, 4, 1), n: int = 2) -> bytes:
    return struct.pack("<4sBHHBI", b"fis1", filter_, *shape, n)


def test_what_is_no_shard_is_refused() -> None:
    good = shards.pack_shard(X, Y)
    body = good[len(header()) :]
    for bad, why in (
        (b"xx", "no shard"),
        (b"PK\3\4" + good[4:], "no shard"),
        (good[:-1], "cut short"),
        (good[: len(header()) + 4], "cut short"),
        (good + b"more", "goes on behind its end"),
        (header() + b"\xff" * 30, "no shard"),
        (header(filter_=9) + body, "filter 9"),
        (header(shape=(0, 4, 1)) + body, "no shard"),
        (header(n=1) + body, "goes on behind its end"),
        (header(n=3) + body, "cut short"),
    ):
        with pytest.raises(ProtocolError, match=why):
            shards.unpack_shard(bad)
    for images, labels, why in (
        (X.astype(float), Y, "uint8"),
        (X[0], Y, r"must be \(N, H, W, C\) uint8"),
        (X, np.arange(3), r"2 shard images have labels of shape \(3,"),
        (X, Y - 1, "not negative"),
        (X, Y + 0.5, "whole numbers"),
        (X, Y + 2**32, "whole numbers"),
    ):
        with pytest.raises(ProtocolError, match=why):
            shards.pack_shard(images, labels)


def test_a_small_message_cannot_fill_the_memory() -> None:
    blob = shards.pack_shard(np.zeros((50, 64, 64, 3), np.uint8), np.zeros(50))
    assert len(blob) < 2000
    with pytest.raises(ProtocolError, match="larger than 100000 bytes"):
        shards.unpack_shard(blob, max_bytes=100_000)
    assert len(shards.unpack_shard(blob, max_bytes=50 * 64 * 64 * 3 + 1000)[1]) == 50
    with pytest.raises(ProtocolError, match="larger than"):  # by its head alone
        shards.unpack_shard(header(shape=(65535, 65535, 255), n=2**32 - 1))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_behind_a_head_are_a_shard_or_a_protocol_error(body: bytes) -> None:
    try:
        images, labels = shards.unpack_shard(header() + body)
    except ProtocolError:
        return
    assert (images.shape, labels.shape) == ((2, 3, 4, 1), (2,))


# ---- lists ---------------------------------------------------------------------------------------------------------


def test_a_name_is_the_content() -> None:
    names = shards.sample_names(X, Y)
    by_hand = hashlib.sha256(b"\x03\x00\x04\x00\x01" + b"\x01\x00\x00\x00" + bytes(range(12))).digest()[:8]
    assert names[0] == int.from_bytes(by_hand, "little")
    assert shards.sample_names(X[::-1], Y[::-1]).tolist() == names[::-1].tolist()
    assert shards.sample_names(X, Y + 1)[0] != names[0]
    assert shards.sample_names(X.reshape(2, 4, 3, 1), Y)[0] != names[0]


def test_a_list_comes_back_and_knows_its_samples() -> None:
    packed = shards.pack_list(X, Y)
    listing = shards.unpack_list(packed)
    assert (listing.shape, listing.names.tolist()) == ((3, 4, 1), shards.sample_names(X, Y).tolist())
    assert len(packed) == 4 + 2 + 2 + 1 + 4 + 32 + 2 * 8
    whole = b"\x03\x00\x04\x00\x01" + b"".join(
        int(y).to_bytes(4, "little") + x.tobytes() for x, y in zip(X, Y, strict=True)
    )
    assert listing.digest == hashlib.sha256(whole).hexdigest()
    assert shards.unpack_list(shards.pack_list(X[::-1], Y[::-1])).digest != listing.digest
    for bad, why in ((b"", "no list"), (packed[1:], "no list"), (packed[:-1], "a list of 2 samples has 61 bytes")):
        with pytest.raises(ProtocolError, match=why):
            shards.unpack_list(bad)


def test_a_sample_that_is_there_twice_is_distinct_once() -> None:
    twice = shards.unpack_list(shards.pack_list(X[[0, 1, 0]], Y[[0, 1, 0]]))
    assert twice.distinct().tolist() == [True, True, False]


@given(st.lists(st.booleans(), max_size=40))
def test_which_samples_are_meant_comes_back(mask: list[bool]) -> None:
    bits = shards.pack_mask(np.array(mask, bool))
    assert shards.unpack_mask(bits, len(mask)).tolist() == mask


def test_bits_of_another_number_of_samples_are_refused() -> None:
    assert shards.unpack_mask(b"\xa0", 3).tolist() == [True, False, True]
    for bits, n in ((b"\xa0", 2), (b"\xa0", 9), (b"\xa0\x00", 3), (b"", 1)):
        with pytest.raises(ProtocolError, match=f"do not say which of {n} samples"):
            shards.unpack_mask(bits, n)
