"""Blobs in pieces: cut, lost, doubled, mixed up, and put together again."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.protocol.chunks import CHUNK_BYTES, ENVELOPE_BYTES, MAX_ASKED, Assembler, blob_ref, cut, n_chunks
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk, encode
from tests.edge_client.pieces import split

BLOB = bytes(range(10))


# ---- cutting -----------------------------------------------------------------------------------------------------


def test_ten_bytes_in_chunks_of_four() -> None:
    ref = blob_ref(BLOB, 4)
    assert ref == BlobRef(digest=hashlib.sha256(BLOB).hexdigest(), size_bytes=10, chunk_bytes=4)
    assert n_chunks(ref) == 3
    assert [chunk.data for chunk in split(BLOB, 4)] == [BLOB[:4], BLOB[4:8], BLOB[8:]]
    assert cut(BLOB, ref, 2) == Chunk(digest=ref.digest, index=2, count=3, data=b"\x08\x09")


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_how_many_chunks(size: int, count: int) -> None:
    assert n_chunks(blob_ref(bytes(size), 4)) == count
    assert len(split(bytes(size), 4)) == count


@pytest.mark.parametrize("index", [-1, 3])
def test_no_chunk_beyond_the_blob(index: int) -> None:
    with pytest.raises(ProtocolError, match=f"chunk {index} was asked of a blob of 3 chunks"):
        cut(BLOB, blob_ref(BLOB, 4), index)


def test_chunks_have_a_size() -> None:
    assert blob_ref(BLOB, 1).chunk_bytes == 1
    with pytest.raises(ValueError, match="chunk_bytes must be at least 1, not 0"):
        blob_ref(BLOB, 0)


def test_a_default_chunk_fits_the_smallest_broker() -> None:
    assert blob_ref(BLOB).chunk_bytes == CHUNK_BYTES == split(BLOB)[0].count * 122_880
    payload = encode(split(bytes(2 * CHUNK_BYTES))[0])
    assert len(payload) < CHUNK_BYTES + ENVELOPE_BYTES < 128 * 1024
    assert ENVELOPE_BYTES == 512


# ---- collecting --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 60), st.randoms(use_true_random=False), st.booleans())
def test_any_order_with_repetitions_gives_the_blob(
    blob: bytes, chunk_bytes: int, rng: random.Random, named: bool
) -> None:
    chunks = split(blob, chunk_bytes)
    ref = blob_ref(blob, chunk_bytes)
    assembler = Assembler(ref) if named else Assembler.from_chunk(chunks[0], chunk_bytes, len(blob))
    line = chunks + rng.choices(chunks, k=3)
    rng.shuffle(line)
    seen: set[int] = set()
    for chunk in line:
        assert assembler.add(chunk) is (chunk.index not in seen)
        seen.add(chunk.index)
        assert assembler.received == len(seen)
        assert assembler.complete is (len(seen) == len(chunks))
        absent = [index for index in range(len(chunks)) if index not in seen]
        assert list(assembler.missing(1000)) == absent
        below = [index for index in absent if index < max(seen)] if absent else []
        assert list(assembler.gaps(1000)) == below
    assert assembler.blob == blob


def test_what_lacks_is_asked_for() -> None:
    blob = bytes(100)
    ref = blob_ref(blob, 1)
    assembler = Assembler(ref)
    assert assembler.gaps() == ()
    assert assembler.missing() == tuple(range(64))
    assert MAX_ASKED == 64
    assembler.add(cut(blob, ref, 99))
    assert assembler.gaps() == tuple(range(64))
    assert assembler.gaps(2) == assembler.missing(2) == (0, 1)
    for index in range(98):
        assembler.add(cut(blob, ref, index))
    assert assembler.gaps() == assembler.missing() == (98,)
    told = assembler.progress("dev")
    assert told == BlobProgress(sender="dev", digest=ref.digest, received=99, missing=(98,))
    assembler.add(cut(blob, ref, 98))
    told = assembler.progress("dev", stalled=True)
    assert told == BlobProgress(sender="dev", digest=ref.digest, received=100, complete=True)


def test_a_stalled_receiver_asks_beyond_the_gaps() -> None:
    ref = blob_ref(BLOB, 2)
    assembler = Assembler(ref)
    assembler.add(cut(BLOB, ref, 1))
    assert assembler.progress("dev").missing == (0,)
    assert assembler.progress("dev", stalled=True).missing == (0, 2, 3, 4)


def test_chunks_of_other_blobs_and_wrong_lengths_are_refused() -> None:
    ref = blob_ref(BLOB, 4)
    good = cut(BLOB, ref, 0)
    assembler = Assembler(ref)
    for bad in (
        Chunk(digest=blob_ref(b"other", 4).digest, index=0, count=3, data=good.data),
        Chunk(digest=ref.digest, index=0, count=4, data=good.data),
        Chunk(digest=ref.digest, index=3, count=3, data=good.data),
    ):
        with pytest.raises(ProtocolError, match="is none of the 3 chunks"):
            assembler.add(bad)
    for index, data, size in ((0, b"123", 4), (0, b"12345", 4), (2, b"123", 2), (2, b"1", 2)):
        with pytest.raises(ProtocolError, match=f"chunk {index} has {len(data)} bytes instead of {size}"):
            assembler.add(Chunk(digest=ref.digest, index=index, count=3, data=data))
    assert assembler.received == 0


def test_without_a_reference_lengths_are_bounded() -> None:
    ref = blob_ref(BLOB, 4)
    first = cut(BLOB, ref, 0)
    assembler = Assembler.from_chunk(first, 4, 10)
    for index, data in ((0, b"123"), (1, b"12345"), (2, b"12345")):
        with pytest.raises(ProtocolError, match="instead of (0 to )?4"):
            assembler.add(Chunk(digest=ref.digest, index=index, count=3, data=data))
    with pytest.raises(ProtocolError, match="a blob of 3 chunks of 4 bytes is larger than 8"):
        Assembler.from_chunk(first, 4, 8)
    Assembler.from_chunk(first, 4, 9)
    empty = split(b"", 4)[0]
    assert Assembler.from_chunk(empty, 4, 0).add(empty)


def test_a_wrong_digest_starts_over() -> None:
    ref = blob_ref(BLOB, 5)
    assembler = Assembler(ref)
    assembler.add(cut(BLOB, ref, 0))
    with pytest.raises(ProtocolError, match="the digest of the assembled blob is"):
        assembler.add(Chunk(digest=ref.digest, index=1, count=2, data=b"wrong"))
    assert (assembler.received, assembler.complete) == (0, False)
    with pytest.raises(ProtocolError, match="has 0 of 2 chunks"):
        _ = assembler.blob
    assert assembler.add(cut(BLOB, ref, 0))
    assert assembler.add(cut(BLOB, ref, 1))
    assert assembler.blob == BLOB
