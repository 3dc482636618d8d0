"""A device's synthetic samples on the wire: their list, and those of them that the device lacks. Pure.

A sample's name is its content: 64 bits of a SHA-256 over its shape, label and pixels. The list of a shard has a name
for each of its samples, in their order, and a SHA-256 over all samples, which also finds two samples of one name (one
chance in 37 million among a million samples). Equal samples give equal bytes: equal lists, and equal parts of a list.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edge_client.protocol import pixels
from edge_client.protocol.errors import ProtocolError

MAX_BYTES = 1 << 30
"""Decoded bytes beyond which a shard is refused, so that a small message cannot fill a board's memory."""

NAME_BYTES = 8

_PART = struct.Struct("<4sBHHBI")  # magic, filter, H, W, C, samples
_LIST = struct.Struct("<4sHHBI32s")  # magic, H, W, C, samples, SHA-256
_PART_MAGIC, _LIST_MAGIC = b"fis1", b"fil1"
_SHAPE = struct.Struct("<HHB")
_MOST_LABEL = (1 << 32) - 1

Shape = tuple[int, int, int]


# ---- lists ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """What a shard consists of: images of `shape` (H, W, C), names (N,) uint64 in the order in which they are trained,
    and the hex digest of them all."""

    shape: Shape
    names: np.ndarray
    digest: str

    def distinct(self) -> np.ndarray:
        """(N,) bool: the first of each name. A shard may have one sample twice; it is sent and kept once."""
        first = np.zeros(len(self.names), bool)
        first[np.unique(self.names, return_index=True)[1]] = True
        return first


def sample_names(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) uint64: the names of samples, by content alone."""
    images, labels = _checked(images, labels)
    shape = _SHAPE.pack(*images.shape[1:])
    digests = (
        hashlib.sha256(shape + label.tobytes() + image.tobytes()).digest()[:NAME_BYTES]
        for image, label in zip(images, labels, strict=True)
    )
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


class SetDigest:
    """The digest of a whole set, sample after sample."""

    def __init__(self, shape: Shape) -> None:
        self._sha = hashlib.sha256(_SHAPE.pack(*shape))

    def add(self, images: np.ndarray, labels: np.ndarray) -> None:
        for image, label in zip(images, np.asarray(labels, "<u4"), strict=True):
            self._sha.update(label.tobytes())
            self._sha.update(image.tobytes())

    def hex(self) -> str:
        return self._sha.hexdigest()


def list_bytes(n: int) -> int:
    """What the list of `n` samples takes."""
    return _LIST.size + n * NAME_BYTES


def pack_list(images: np.ndarray, labels: np.ndarray) -> bytes:
    """The list of these samples: images (N, H, W, C) uint8, labels (N,)."""
    images, labels = _checked(images, labels)
    whole = SetDigest(images.shape[1:])
    whole.add(images, labels)
    head = _LIST.pack(_LIST_MAGIC, *images.shape[1:], len(images), bytes.fromhex(whole.hex()))
    return head + sample_names(images, labels).astype("<u8").tobytes()


def unpack_list(blob: bytes) -> Listing:
    """Bytes back into a list; raises `ProtocolError` for anything else."""
    if len(blob) < _LIST.size or not blob.startswith(_LIST_MAGIC):
        raise ProtocolError("these bytes are no list of a shard's samples")
    _, height, width, channels, n, whole = _LIST.unpack_from(blob)
    if len(blob) != list_bytes(n):
        raise ProtocolError(f"a list of {n} samples has {list_bytes(n)} bytes, not {len(blob)}")
    names = np.frombuffer(blob, "<u8", offset=_LIST.size).astype(np.uint64)
    return Listing((height, width, channels), names, whole.hex())


def pack_mask(mask: np.ndarray) -> bytes:
    """(N,) bool as bits, the first sample in the highest bit of the first byte."""
    return np.packbits(mask).tobytes()


def unpack_mask(bits: bytes, n: int) -> np.ndarray:
    """(n,) bool; raises `ProtocolError` where the bits are of another number of samples."""
    found = np.unpackbits(np.frombuffer(bits, np.uint8))
    if len(bits) != -(-n // 8) or found[n:].any():
        raise ProtocolError(f"{len(bits)} bytes do not say which of {n} samples are meant")
    return found[:n].astype(bool)


# ---- samples -------------------------------------------------------------------------------------------------------


def pack_shard(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Images (N, H, W, C) uint8 and labels (N,) of whole numbers from 0 as bytes; equal samples give equal bytes."""
    images, labels = _checked(images, labels)
    filter_ = pixels.best_filter(images)
    squeezer = pixels.Squeezer()
    squeezer.add(labels.tobytes())
    for group in pixels.groups(len(images)):
        squeezer.add(pixels.filtered(images[group], filter_))
    return _PART.pack(_PART_MAGIC, filter_, *images.shape[1:], len(images)) + squeezer.end()


def unpack_shard(blob: bytes, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, np.ndarray]:
    """Bytes back into (images uint8 (N, H, W, C), labels int64 (N,)); raises `ProtocolError` for anything else.

    Beside the images it takes the memory of a few groups of `pixels.GROUP` images.
    """
    if len(blob) < _PART.size or not blob.startswith(_PART_MAGIC):
        raise ProtocolError("these bytes are no shard")
    _, filter_, *shape, n = _PART.unpack_from(blob)
    if filter_ not in pixels.FILTERS or 0 in shape:
        raise ProtocolError(f"these bytes are no shard: filter {filter_} on images {shape}")
    if decoded_bytes(shape, n) > max_bytes:
        raise ProtocolError(f"the shard is larger than {max_bytes} bytes")
    stretcher = pixels.Stretcher(blob[_PART.size :])
    labels = np.frombuffer(stretcher.take(4 * n), "<u4").astype(np.int64)
    images = np.empty((n, *shape), np.uint8)
    for group in pixels.groups(n):
        in_group = (group.stop - group.start, *shape)
        images[group] = pixels.unfiltered(stretcher.take(math.prod(in_group)), in_group, filter_)
    stretcher.end()
    return images, labels


def decoded_bytes(shape: Iterable[int], n: int) -> int:
    """What `n` samples take in memory: pixels, and labels as they are sent."""
    return n * (math.prod(shape) + 4)


def most_bytes(shape: Iterable[int], n: int) -> int:
    """What `n` samples can take at most: LZMA adds 3 bytes to each 64 KiB that it cannot make smaller."""
    raw = decoded_bytes(shape, n)
    return _PART.size + raw + raw // 16384 + 64


def _checked(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.ascontiguousarray(images), np.asarray(labels)
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ProtocolError(f"shard images must be (N, H, W, C) uint8, not {images.shape} {images.dtype}")
    if not (min(images.shape[1:]) >= 1 and max(images.shape[1:3]) < 1 << 16 and images.shape[3] < 1 << 8):
        raise ProtocolError(f"shard images of {images.shape[1:]} are none: a side has 1 to 65535 pixels")
    if labels.shape != images.shape[:1]:
        raise ProtocolError(f"{len(images)} shard images have labels of shape {labels.shape}")
    whole = labels.astype(np.int64)
    if labels.size and (whole.min() < 0 or whole.max() > _MOST_LABEL or (whole != labels).any()):
        raise ProtocolError("shard labels must be whole numbers from 0, not negative")
    return images, whole.astype("<u4")
