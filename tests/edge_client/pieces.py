"""A blob as the chunks it travels in."""

from __future__ import annotations

from edge_client.protocol.chunks import CHUNK_BYTES, blob_ref, cut, n_chunks
from edge_client.protocol.messages import Chunk


def split(blob: bytes, chunk_bytes: int = CHUNK_BYTES) -> list[Chunk]:
    """All chunks of a blob in order."""
    ref = blob_ref(blob, chunk_bytes)
    return [cut(blob, ref, index) for index in range(n_chunks(ref))]
