"""A device's synthetic samples on the wire: safetensors {x, y}, deflated. Pure.

Images of few tones shrink to about half; zlib is in every Python, and a shard is sent once.
"""

from __future__ import annotations

import zlib

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from edge_client.protocol.errors import ProtocolError

MAX_BYTES = 1 << 30
"""Inflated bytes beyond which a shard is refused, so that a small message cannot fill a board's memory."""


def pack_shard(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Images (N, H, W, C) uint8 and labels (N,) of whole numbers >= 0 as bytes; equal samples give equal bytes."""
    images = np.ascontiguousarray(images)
    labels = np.ascontiguousarray(labels, dtype=np.int64)
    _check(images, labels)
    return zlib.compress(safetensors.numpy.save({"x": images, "y": labels}), level=6)


def unpack_shard(blob: bytes, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, np.ndarray]:
    """Bytes back into (images uint8 (N, H, W, C), labels int64 (N,)); raises `ProtocolError` for anything else."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(blob, max_bytes)
        if inflater.unconsumed_tail:
            raise ProtocolError(f"the shard is larger than {max_bytes} bytes")
        if not inflater.eof:
            raise ProtocolError("the shard is cut short")
        arrays = safetensors.numpy.load(raw)
    except (zlib.error, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"these bytes are no shard: {error}") from error
    if arrays.keys() != {"x", "y"}:
        raise ProtocolError(f"a shard holds x and y, not {', '.join(sorted(arrays))}")
    labels = arrays["y"]
    if not np.issubdtype(labels.dtype, np.integer):
        raise ProtocolError(f"shard labels are {labels.dtype}, not whole numbers")
    labels = labels.astype(np.int64)
    _check(arrays["x"], labels)
    return arrays["x"], labels


def _check(images: np.ndarray, labels: np.ndarray) -> None:
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ProtocolError(f"shard images must be (N, H, W, C) uint8, not {images.shape} {images.dtype}")
    if labels.shape != images.shape[:1]:
        raise ProtocolError(f"{len(images)} shard images have labels of shape {labels.shape}")
    if labels.size and labels.min() < 0:
        raise ProtocolError("shard labels must not be negative")
