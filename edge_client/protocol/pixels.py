"""Small images as few bytes, without loss: a prediction filter, then LZMA. Pure; numpy and the standard library alone.

Each pixel is foretold from its left (a), upper (b) and upper left (c) neighbour, and what is off goes on, modulo 256:
by nothing, by b, or by LOCO-I's median of a, b and a + b - c (Weinberger, Seroussi, Sapiro 2000, eq. 1). Red and blue
are kept as differences to green. Which filter is best is tried out on some of the images. Images of one class often
share whole rows, so on smooth greys no filter beats one. `tools/bench_shards.py` measures it against other ways.

The stream is made of groups of `GROUP` images, each as planes (C, n, H, W), so that no more than a group is decoded at
a time. LZMA's dictionary is set here and not read from the stream: a stream cannot ask for memory.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator

import numpy as np

from edge_client.protocol.errors import ProtocolError

GROUP = 256
"""Images that are filtered, and held in memory, at a time."""

NONE, UP, MEDIAN = 0, 1, 2
FILTERS = (NONE, UP, MEDIAN)

_TRIED = 128  # images on which filters are compared
_LZMA = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": 4, "lp": 0, "pb": 0, "mode": lzma.MODE_NORMAL,
          "nice_len": 64, "mf": lzma.MF_BT4, "depth": 0}]  # fmt: skip


class Squeezer:
    """Bytes into one LZMA stream."""

    def __init__(self) -> None:
        self._lzma = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=_LZMA)
        self._parts: list[bytes] = []

    def add(self, data: bytes) -> None:
        self._parts.append(self._lzma.compress(data))

    def end(self) -> bytes:
        return b"".join([*self._parts, self._lzma.flush()])


class Stretcher:
    """The bytes of a stream again, as many at a time as are asked for; raises ProtocolError where it has no more."""

    def __init__(self, stream: bytes) -> None:
        self._lzma = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA)
        self._rest = stream

    def take(self, size: int) -> bytes:
        parts = []
        while size:
            if self._lzma.eof:
                raise ProtocolError("the shard is cut short")
            try:
                part = self._lzma.decompress(self._rest, size)
            except lzma.LZMAError as error:
                raise ProtocolError(f"these bytes are no shard: {error}") from error
            self._rest = b""
            if not part and self._lzma.needs_input:
                raise ProtocolError("the shard is cut short")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        """Raise ProtocolError where there is more."""
        try:
            more = b"" if self._lzma.eof else self._lzma.decompress(self._rest, 1)
        except lzma.LZMAError as error:
            raise ProtocolError(f"these bytes are no shard: {error}") from error
        if more or self._lzma.unused_data:
            raise ProtocolError("the shard goes on behind its end")
        if not self._lzma.eof:
            raise ProtocolError("the shard is cut short")


def best_filter(images: np.ndarray) -> int:
    """The filter that leaves the fewest bytes of some of the images (N, H, W, C), evenly taken."""
    some = images[:: max(1, -(-len(images) // _TRIED))]

    def size(filter_: int) -> int:
        squeezer = Squeezer()
        squeezer.add(filtered(some, filter_))
        return len(squeezer.end())

    return min(FILTERS, key=size)


def groups(n: int) -> Iterator[slice]:
    """Which images stand together."""
    return (slice(start, min(start + GROUP, n)) for start in range(0, n, GROUP))


def filtered(images: np.ndarray, filter_: int) -> bytes:
    """Images (n, H, W, C) uint8 as the bytes that their filter leaves, plane by plane."""
    planes = images.transpose(3, 0, 1, 2).copy()
    if len(planes) == 3:
        planes[0] -= planes[1]
        planes[2] -= planes[1]
    if filter_ != NONE:
        left, up = np.zeros_like(planes), np.zeros_like(planes)
        up[:, :, 1:] = planes[:, :, :-1]
        if filter_ == MEDIAN:
            left[..., 1:] = planes[..., :-1]
            corner = np.zeros_like(planes)
            corner[:, :, 1:, 1:] = planes[:, :, :-1, :-1]
            up = _median(*(array.astype(np.int16) for array in (left, up, corner))).astype(np.uint8)
        planes -= up
    return planes.tobytes()


def unfiltered(data: bytes, shape: tuple[int, int, int, int], filter_: int) -> np.ndarray:
    """The inverse of `filtered`: images of `shape` (n, H, W, C)."""
    n, height, width, channels = shape
    planes = np.frombuffer(data, np.uint8).reshape(channels, n, height, width).copy()
    if filter_ == UP:
        np.add.accumulate(planes, axis=2, dtype=np.uint8, out=planes)
    elif filter_ == MEDIAN:
        planes = _from_median(planes)
    if channels == 3:
        planes[0] += planes[1]
        planes[2] += planes[1]
    return np.ascontiguousarray(planes.transpose(1, 2, 3, 0))


def _from_median(off: np.ndarray) -> np.ndarray:
    """Pixel after pixel, all images of all planes (C, n, H, W) at once."""
    channels, n, height, width = off.shape
    pixels = np.ascontiguousarray(off.transpose(2, 3, 0, 1)).reshape(height, width, channels * n).astype(np.int16)
    nothing = np.zeros(channels * n, np.int16)
    for row in range(height):
        here, above = pixels[row], pixels[row - 1] if row else np.zeros_like(pixels[0])
        left = corner = nothing
        for column in range(width):
            here[column] += _median(left, above[column], corner)
            here[column] &= 0xFF
            left, corner = here[column], above[column]
    planes = pixels.astype(np.uint8).reshape(height, width, channels, n)
    return np.ascontiguousarray(planes.transpose(2, 3, 0, 1))


def _median(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The median of a, b and a + b - c, of int16."""
    return np.maximum(np.minimum(left, up), np.minimum(np.maximum(left, up), left + up - corner))
