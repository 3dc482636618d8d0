"""The sender's window over a blob in pieces: it follows its receivers, and sends again what they lack."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.protocol.chunks import Assembler, SendWindow, blob_ref, cut
from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobProgress

BLOB = bytes(range(10))


def progress(who: str, received: int, missing: tuple[int, ...] = (), complete: bool = False) -> BlobProgress:
    return BlobProgress(
        sender=who, digest=blob_ref(BLOB, 1).digest, received=received, missing=missing, complete=complete
    )


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


def test_who_resumes_says_first_what_it_has() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a"], window=4, resumes=True)
    assert window.take() == ()
    window.heard(progress("a", 5, missing=(1, 3, 7, 8, 9)))  # 0, 2, 4, 5 and 6 are there
    assert window.take() == (1, 3, 7, 8)
    assert window.take_asked() == {}  # they have just been handed out
    window.heard(progress("a", 7, missing=(3,)))
    assert window.take() == (9,)
    assert window.take_asked() == {"a": (3,)}
    window.heard(progress("a", 0, missing=tuple(range(10))))  # the digest was wrong: all of it again
    assert window.take_asked() == {"a": (0, 1, 2, 3)}
    window.heard(progress("a", 10, complete=True))
    assert (window.take(), window.done) == ((), True)


def test_who_has_it_all_is_sent_nothing() -> None:
    window = SendWindow(blob_ref(BLOB, 1), ["a"], resumes=True)
    window.heard(progress("a", 1, complete=True))
    assert window.take() == ()


@settings(deadline=None)
@given(st.sets(st.integers(0, 199)), st.integers(1, 20))
def test_a_resumed_blob_comes_whole_and_nothing_twice(kept: set[int], window: int) -> None:
    blob = bytes(range(200))
    ref = blob_ref(blob, 1)
    receiver, sender = Assembler(ref), SendWindow(ref, ["a"], window=window, resumes=True)
    for index in kept:
        receiver.add(cut(blob, ref, index))
    sent: list[int] = []
    sender.heard(receiver.progress("a", stalled=True))
    while not sender.done:
        indices = sender.take()
        assert len(indices) <= window + sum(index > 63 for index in kept)  # of these it may not know
        for index in indices:
            sent.append(index)
            receiver.add(cut(blob, ref, index))
        sender.heard(receiver.progress("a"))
    assert receiver.blob == blob
    missing = sorted(set(range(200)) - kept)
    # Of what lacks the first 64 are named; behind the 64th some may be sent that are there.
    beyond = {index for index in kept if len(missing) >= 64 and index > missing[63]}
    assert set(sent) - beyond == set(missing)
    assert len(sent) == len(set(sent))
