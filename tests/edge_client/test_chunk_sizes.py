"""A receiver that was not told how a blob is cut learns it from the chunks, within bounds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.protocol.chunks import Assembler
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import Chunk
from tests.edge_client.pieces import split

BLOB = bytes(i % 251 for i in range(10_000))


def pieces(size: int, blob: bytes = BLOB) -> list[Chunk]:
    return split(blob, size)


@given(st.integers(1024, 4096), st.randoms(use_true_random=False))
def test_smaller_chunks_than_asked_for_are_put_together_in_any_order(size: int, rng: random.Random) -> None:
    chunks = pieces(size)
    rng.shuffle(chunks)
    assembler = Assembler.from_chunk(chunks[0], 4096, 20_000)
    assert all(assembler.add(chunk) for chunk in chunks)
    assert assembler.blob == BLOB


def test_chunks_below_a_kibibyte_or_above_what_was_asked_for_are_refused() -> None:
    for size in (1023, 4097):
        first = pieces(size)[0]
        assembler = Assembler.from_chunk(first, 4096, 20_000)
        with pytest.raises(ProtocolError, match=f"chunk 0 has {size} bytes instead of 1024 to 4096"):
            assembler.add(first)
        assert assembler.received == 0


def test_where_less_than_a_kibibyte_was_asked_for_nothing_less_is_taken() -> None:
    first = pieces(63)[0]
    with pytest.raises(ProtocolError, match="chunk 0 has 63 bytes instead of 64"):
        Assembler.from_chunk(first, 64, 20_000).add(first)


def test_all_but_the_last_are_as_long_as_the_first_that_came() -> None:
    first, second, *_, last = pieces(2000)
    assembler = Assembler.from_chunk(second, 4096, 20_000)
    assert assembler.add(second)
    for index, size, right in ((0, 1999, "2000"), (0, 2001, "2000"), (last.index, 2001, "0 to 2000")):
        odd = Chunk(digest=first.digest, index=index, count=first.count, data=bytes(size))
        with pytest.raises(ProtocolError, match=f"chunk {index} has {size} bytes instead of {right}"):
            assembler.add(odd)
    assert assembler.add(first)


def test_no_chunk_is_shorter_than_the_last() -> None:
    first, *_, last = pieces(1100, BLOB[:3300])
    assembler = Assembler.from_chunk(last, 4096, 20_000)
    assert assembler.add(last)
    short = Chunk(digest=first.digest, index=0, count=first.count, data=bytes(1099))
    with pytest.raises(ProtocolError, match="chunk 0 has 1099 bytes, less than the last one"):
        assembler.add(short)


def test_the_whole_is_bounded_by_the_length_that_the_chunks_turn_out_to_have() -> None:
    """Eleven chunks of 1024 bytes may stay below 11,000, eleven of 2000 bytes are twice as much."""
    blob = bytes(22_000)
    first = pieces(2000, blob)[0]
    assembler = Assembler.from_chunk(first, 4096, 11_000)
    with pytest.raises(ProtocolError, match="a blob of 11 chunks of 2000 bytes is larger than 11000"):
        assembler.add(first)
    many = Chunk(digest=first.digest, index=0, count=12, data=b"")
    with pytest.raises(ProtocolError, match="a blob of 12 chunks of 1024 bytes is larger than 11000"):
        Assembler.from_chunk(many, 4096, 11_000)


def test_a_wrong_digest_forgets_the_length_too() -> None:
    chunks = pieces(1500, BLOB[:3000])
    assembler = Assembler.from_chunk(chunks[0], 4096, 20_000)
    assembler.add(Chunk(digest=chunks[0].digest, index=0, count=2, data=bytes(1600)))
    with pytest.raises(ProtocolError, match="the digest of the assembled blob"):
        assembler.add(chunks[1])
    for chunk in chunks:
        assembler.add(chunk)
    assert assembler.blob == BLOB[:3000]
