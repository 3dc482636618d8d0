"""A blob on its way, on disk: chunks as they come, so that a client that was killed goes on with what lacks.

Chunks are appended with their number and a checksum; what a kill has left half of is cut off. There is one such file at
a time: of the part of a shard that the last task asked for.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path

from edge_client.protocol.chunks import Assembler
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobRef, Chunk
from edge_client.training.store import storing

_HEAD = struct.Struct("<8s32sQQ")  # magic, digest, size and chunk size of the blob
_RECORD = struct.Struct("<III")  # index, bytes, CRC-32
_MAGIC = b"fimipar1"


class Partial:
    """The file of one blob's chunks in `folder`; that of another blob is thrown away. Raises StorageError."""

    def __init__(self, folder: Path, ref: BlobRef) -> None:
        self._path = path_in(folder)
        self._head = _HEAD.pack(_MAGIC, bytes.fromhex(ref.digest), ref.size_bytes, ref.chunk_bytes)

    def restore(self, assembler: Assembler) -> None:
        """Give the assembler what is here; afterwards the file is there and ends with a whole chunk."""
        with storing(self._path):
            try:
                blob = self._path.read_bytes()
            except FileNotFoundError:
                blob = b""
            if not blob.startswith(self._head):
                self.clear()
                return
            end = len(self._head)
            while (record := _record_at(blob, end)) is not None:
                index, data, after = record
                try:
                    assembler.add(Chunk(digest=assembler.digest, index=index, count=assembler.count, data=data))
                except ProtocolError:  # all there, and not what the digest means: begin again
                    self.clear()
                    return
                end = after
            with self._path.open("r+b") as file:
                file.truncate(end)

    def keep(self, chunk: Chunk) -> None:
        """Append a chunk."""
        record = _RECORD.pack(chunk.index, len(chunk.data), zlib.crc32(chunk.data)) + chunk.data
        with storing(self._path), self._path.open("ab", buffering=0) as file:
            start = file.seek(0, os.SEEK_END)
            if file.write(record) < len(record):  # a raw file takes what fits
                file.truncate(start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def clear(self) -> None:
        """Begin again with no chunk."""
        with storing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(self._head)


def path_in(folder: Path) -> Path:
    return folder / "samples.partial"


def remove(folder: Path) -> None:
    """Nothing is on its way any more."""
    with storing(path_in(folder)):
        path_in(folder).unlink(missing_ok=True)


def _record_at(blob: bytes, start: int) -> tuple[int, bytes, int] | None:
    """(index, data, where the next one begins) of the whole chunk at `start`, or None."""
    if len(blob) < start + _RECORD.size:
        return None
    index, size, checksum = _RECORD.unpack_from(blob, start)
    data = blob[start + _RECORD.size : start + _RECORD.size + size]
    return (index, data, start + _RECORD.size + size) if len(data) == size and zlib.crc32(data) == checksum else None
