"""Blobs in pieces: cut, lost, doubled, mixed up, and put together again."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.protocol.chunks import (
    CHUNK_BYTES,
    ENVELOPE_BYTES,
    MAX_ASKED,
    Assembler,
    SendWindow,
    blob_ref,
    cut,
    n_chunks,
)
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk, encode
from tests.edge_client.pieces import split

BLOB = bytes(range(10))


def progress(who: str, received: int, missing: tuple[int, ...] = (), complete: bool = False) -> BlobProgress:
    return BlobProgress(
        sender=who, digest=blob_ref(BLOB, 1).digest, received=received, missing=missing, complete=complete
    )


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


# ---- the window --------------------------------------------------------------------------------------------------


def test_a_window_of_three_follows_its_receiver() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a"], window=3)
    assert window.take() == (0, 1, 2)
    assert window.take() == ()
    window.heard(progress("a", 2))
    assert window.take() == (3, 4)
    window.heard(progress("a", 5))
    assert window.take() == (5, 6, 7)
    window.heard(progress("a", 8))
    assert window.take() == (8, 9)
    assert not window.done
    window.heard(progress("a", 10, complete=True))
    assert window.done
    assert window.complete == {"a"}
    assert window.take() == ()


def test_the_window_advances_with_the_fastest_quorum() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a", "b", "c"], quorum=2, window=2)
    assert window.take() == (0, 1)
    window.heard(progress("a", 2))
    assert window.take() == ()  # one is not two
    window.heard(progress("b", 1))
    assert window.take() == (2,)
    window.heard(progress("b", 2))
    assert window.take() == (3,)
    window.forget("a")
    window.heard(progress("c", 2))
    assert window.take() == ()
    window.heard(progress("c", 3))
    window.heard(progress("b", 4))
    assert window.take() == (4,)


def test_who_leaves_is_not_waited_for() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a", "b"], window=20)
    assert window.take() == tuple(range(10))
    window.heard(progress("a", 10, complete=True))
    assert window.waiting == {"b"}
    window.heard(progress("b", 3, missing=(1,)))
    window.forget("b")
    assert window.done
    assert window.take_asked() == {}
    window.forget("a")
    window.forget("nobody")
    assert window.take() == ()
    assert window.complete == frozenset()


def test_what_is_asked_for_is_sent_again_once() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a", "b"], quorum=1, window=4)
    window.take()
    window.heard(progress("a", 0, missing=(2, 4, 7)))  # 4 and 7 have not been sent yet: they come by themselves
    window.heard(progress("b", 0, missing=(0, 1, 2, 3)))
    assert window.take_asked() == {"a": (2,), "b": (0, 1, 2, 3)}
    assert window.take_asked() == {}
    window.heard(progress("b", 1, missing=(1, 2, 3)))
    window.heard(progress("b", 4))
    assert window.take_asked() == {}


def test_no_more_than_a_window_is_sent_again_at_once() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a"], window=2)
    window.take()
    window.heard(progress("a", 2))
    window.take()
    window.heard(progress("a", 1, missing=(0, 1, 2)))
    assert window.take_asked() == {"a": (0, 1)}


def test_a_receiver_that_starts_over_is_served_again() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a"], window=20)
    assert len(window.take()) == 10
    window.heard(progress("a", 10))
    window.heard(progress("a", 0, missing=tuple(range(10))))
    assert not window.done
    assert window.take() == ()
    assert window.take_asked() == {"a": tuple(range(10))}


def test_late_word_after_completion_changes_nothing() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a"], window=20)
    window.take()
    window.heard(progress("a", 3, missing=(1,)))
    window.heard(progress("a", 10, complete=True))
    window.heard(progress("a", 4, missing=(2,)))
    assert window.done
    assert window.take_asked() == {}


def test_strangers_and_other_blobs_are_ignored_and_nonsense_refused() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a"], window=2)
    window.take()
    window.heard(progress("x", 10, complete=True))
    window.heard(BlobProgress(sender="a", digest="0" * 64, received=10, complete=True))
    assert window.complete == frozenset()
    assert window.take() == ()
    for bad in (progress("a", 11), progress("a", 1, missing=(10,))):
        with pytest.raises(ProtocolError, match="a speaks of chunks that blob"):
            window.heard(bad)
    window.heard(progress("a", 1, missing=(9,)))


def test_a_window_needs_receivers_and_room() -> None:
    ref = blob_ref(BLOB, 1)
    with pytest.raises(ValueError, match="at least one receiver"):
        SendWindow(ref, [])
    for quorum, room in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            SendWindow(ref, ["a"], quorum, room)
    assert SendWindow(blob_ref(bytes(100), 1), ["a"], 1).take() == tuple(range(16))
    assert SendWindow(ref, ["a"], quorum=5, window=1).take() == (0,)


@settings(deadline=None)
@given(
    st.integers(0, 120),
    st.integers(1, 9),
    st.integers(1, 6),
    st.floats(0, 0.6),
    st.randoms(use_true_random=False),
)
def test_lossy_lines_deliver_in_the_end(n: int, chunk_bytes: int, room: int, loss: float, rng: random.Random) -> None:
    """Two receivers, chunks lost at random: nobody is ever more than the window ahead, and all arrive."""
    blob = rng.randbytes(n)
    ref = blob_ref(blob, chunk_bytes)
    receivers = {who: Assembler(ref) for who in "ab"}
    window = SendWindow(ref, receivers, quorum=1, window=room)
    for _ in range(5000):
        sent = window.take()
        fastest = max(assembler.received for assembler in receivers.values())
        assert all(index < fastest + room for index in sent)
        line = [(who, index) for index in sent for who in receivers]
        line += [(who, index) for who, asked in window.take_asked().items() for index in asked]
        for who, index in line:
            if rng.random() >= loss:
                receivers[who].add(cut(blob, ref, index))
        for who, assembler in receivers.items():
            window.heard(assembler.progress(who, stalled=True))
        if window.done:
            break
    assert all(assembler.blob == blob for assembler in receivers.values())
