"""Large payloads in pieces: cutting, collecting and the sender's window. Pure: no clock, no network.

Why not one big message: a broker keeps a whole message in memory for every slow subscriber (14 MB to 50 devices took
703 MB of broker memory, against 13 MB in chunks), and brokers drop queued messages silently once a queue is full. So
at most `WINDOW` chunks are under way at a time, the receiver says what it has (`BlobProgress`), and the digest decides.

Sender:   ref = blob_ref(blob, chunk_bytes); window = SendWindow(ref, receivers, quorum)
          loop: publish cut(blob, ref, i) for i in window.take() and window.take_asked(); window.heard(progress)
Receiver: assembler = Assembler(ref); new = assembler.add(chunk); publish assembler.progress(me) every `ACK_EVERY` new
          chunks, when complete, and at once for a chunk that was not new (the sender probes: it waits for word);
          publish assembler.progress(me, stalled=True) when nothing came for a while. Who has the blob already (a shard
          in the cache, an update sent again) says `complete` to the first chunk or the reference it sees. What a shard
          needs is sent only once its receiver has said which chunks lack: `SendWindow(..., resumes=True)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.messages import BlobProgress, BlobRef, Chunk

SERVER = "server"
"""How the server signs its `BlobProgress`; devices sign with their name."""

CHUNK_BYTES = 120 * 1024
"""Default size of a chunk's data: with its envelope it stays below 128 KiB, the least limit among cloud brokers."""

LEAST_CHUNK_BYTES = 1024
"""No sender cuts smaller ones, unless it is told to: so that a blob of a known size has a bounded number of chunks."""

ENVELOPE_BYTES = 512
"""More than a Chunk's MessagePack and MQTT headers ever take beside its data."""

WINDOW = 16
"""Chunks that may be under way without word from the receiver."""

ACK_EVERY = 8
"""New chunks after which a receiver reports: half the window, so that the link does not run dry."""

MAX_ASKED = 64
"""Missing chunks named in one `BlobProgress`."""


def blob_ref(blob: bytes, chunk_bytes: int = CHUNK_BYTES) -> BlobRef:
    """The name of a blob: SHA-256, size, and the size of its chunks."""
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be at least 1, not {chunk_bytes}")
    return BlobRef(digest=hashlib.sha256(blob).hexdigest(), size_bytes=len(blob), chunk_bytes=chunk_bytes)


def n_chunks(ref: BlobRef) -> int:
    """How many chunks a blob has; an empty blob is one empty chunk."""
    return max(1, -(-ref.size_bytes // ref.chunk_bytes))


def check_size(count: int, chunk_bytes: int, max_bytes: int) -> None:
    """Raise `ProtocolError` where `count` chunks, all but the last of `chunk_bytes`, must exceed `max_bytes`."""
    if (count - 1) * chunk_bytes >= max(1, max_bytes):
        raise ProtocolError(f"a blob of {count} chunks of {chunk_bytes} bytes is larger than {max_bytes}")


def cut(blob: bytes, ref: BlobRef, index: int) -> Chunk:
    """Chunk `index` (0 .. n_chunks - 1) of a blob."""
    count = n_chunks(ref)
    if not 0 <= index < count:
        raise ProtocolError(f"chunk {index} was asked of a blob of {count} chunks")
    start = index * ref.chunk_bytes
    return Chunk(digest=ref.digest, index=index, count=count, data=bytes(blob[start : start + ref.chunk_bytes]))


class Assembler:
    """Collects the chunks of one blob, in any order and however often each comes.

    With a `BlobRef` every length is known beforehand. A server that gets an update's chunks before the `Update` that
    names their size uses `Assembler.from_chunk`: the first chunk that is not the last of its blob tells the length of
    all, lengths are bounded, and the digest decides.
    """

    def __init__(self, ref: BlobRef) -> None:
        self.digest = ref.digest
        self.count = n_chunks(ref)
        self._chunk_bytes: int | None = ref.chunk_bytes
        self._size_bytes: int | None = ref.size_bytes
        self._most_bytes = ref.chunk_bytes
        self._max_bytes = ref.size_bytes
        self._parts: dict[int, bytes] = {}
        self._blob: bytes | None = None

    @classmethod
    def from_chunk(cls, chunk: Chunk, chunk_bytes: int, max_bytes: int) -> Assembler:
        """An empty assembler for the blob of `chunk`: at most `max_bytes`, in chunks of at most `chunk_bytes`.

        A sender may cut smaller ones, for its broker may take no larger messages, but none below `LEAST_CHUNK_BYTES`.
        """
        check_size(chunk.count, min(LEAST_CHUNK_BYTES, chunk_bytes), max_bytes)
        assembler = cls(BlobRef(digest=chunk.digest, size_bytes=0, chunk_bytes=chunk_bytes))
        assembler.count = chunk.count
        assembler._max_bytes = max_bytes
        assembler._chunk_bytes = assembler._size_bytes = None
        return assembler

    @property
    def received(self) -> int:
        """Distinct chunks so far."""
        return self.count if self._blob is not None else len(self._parts)

    @property
    def complete(self) -> bool:
        """All there, and the digest agrees."""
        return self._blob is not None

    @property
    def blob(self) -> bytes:
        """The whole payload; raises `ProtocolError` before it is complete."""
        if self._blob is None:
            raise ProtocolError(f"blob {self.digest[:12]} has {self.received} of {self.count} chunks")
        return self._blob

    def add(self, chunk: Chunk) -> bool:
        """Take a chunk; True if it was new.

        Raises `ProtocolError` for a chunk of another blob or of a wrong length, and when the last one is in but the
        digest does not agree: then the collection starts over.
        """
        if chunk.digest != self.digest or chunk.count != self.count or chunk.index >= self.count:
            raise ProtocolError(
                f"chunk {chunk.index} of {chunk.count} of {chunk.digest[:12]} is none of the {self.count} chunks "
                f"of {self.digest[:12]}"
            )
        if self._blob is not None or chunk.index in self._parts:
            return False
        self._check_length(chunk)
        self._parts[chunk.index] = chunk.data
        if len(self._parts) == self.count:
            self._finish()
        return True

    def _check_length(self, chunk: Chunk) -> None:
        size, (low, high) = len(chunk.data), self._bounds(chunk.index)
        if not low <= size <= high:
            right = f"{low}" if low == high else f"{low} to {high}"
            raise ProtocolError(f"chunk {chunk.index} has {size} bytes instead of {right}")
        if self._chunk_bytes is None and chunk.index < self.count - 1:
            check_size(self.count, size, self._max_bytes)
            if any(len(part) > size for part in self._parts.values()):
                raise ProtocolError(f"chunk {chunk.index} has {size} bytes, less than the last one")
            self._chunk_bytes = size

    def _bounds(self, index: int) -> tuple[int, int]:
        """The least and the most bytes that chunk `index` may have, by what is known so far."""
        last, size = index == self.count - 1, self._chunk_bytes
        if last and self._size_bytes is not None:
            rest = self._size_bytes - index * self._most_bytes
            return rest, rest
        if last:
            return 0, size or self._most_bytes
        return (min(LEAST_CHUNK_BYTES, self._most_bytes), self._most_bytes) if size is None else (size, size)

    def _finish(self) -> None:
        blob = b"".join(self._parts[index] for index in range(self.count))
        self._parts.clear()
        if self._size_bytes is None:
            self._chunk_bytes = None
        digest = hashlib.sha256(blob).hexdigest()
        if digest != self.digest:
            raise ProtocolError(f"the digest of the assembled blob is {digest[:12]}, not {self.digest[:12]}")
        self._blob = blob

    def gaps(self, limit: int = MAX_ASKED) -> tuple[int, ...]:
        """Missing indices below the highest one received: on an ordered transport these were lost."""
        if self._blob is not None or not self._parts:
            return ()
        return self._absent(max(self._parts), limit)

    def missing(self, limit: int = MAX_ASKED) -> tuple[int, ...]:
        """The first `limit` indices that are not here."""
        return () if self._blob is not None else self._absent(self.count, limit)

    def _absent(self, end: int, limit: int) -> tuple[int, ...]:
        absent = (index for index in range(end) if index not in self._parts)
        return tuple(index for index, _ in zip(absent, range(limit), strict=False))

    def progress(self, sender: str, *, stalled: bool = False) -> BlobProgress:
        """What to tell the sender. Asks for the gaps; when nothing came for a while (`stalled`), for all that lacks."""
        asked = self.missing() if stalled else self.gaps()
        return BlobProgress(
            sender=sender, digest=self.digest, received=self.received, missing=asked, complete=self.complete
        )


class SendWindow:
    """Who has what of one blob, and what may be sent next.

    The window advances with the fastest `quorum` receivers: index i may go out once at least `quorum` receivers have
    more than i - window chunks. The slow ones ask for what they missed by index and get it on their own.

    With `resumes` nothing goes out before the receiver, of which there is then one, has said what it has: it may have
    kept some of the blob from an earlier attempt, and gets the rest.
    """

    def __init__(
        self,
        ref: BlobRef,
        receivers: Iterable[str],
        quorum: int | None = None,
        window: int = WINDOW,
        *,
        resumes: bool = False,
    ) -> None:
        self.ref = ref
        self.count = n_chunks(ref)
        self._received = dict.fromkeys(receivers, 0)
        if not self._received:
            raise ValueError("a blob needs at least one receiver")
        self._quorum = len(self._received) if quorum is None else quorum
        if self._quorum < 1 or window < 1:
            raise ValueError(f"quorum and window must be at least 1, not {quorum} and {window}")
        self._window = window
        self._next = 0
        self._asked: dict[str, tuple[int, ...]] = {}
        self._complete: set[str] = set()
        self._unheard = resumes
        self._order: Sequence[int] = range(self.count)

    @property
    def complete(self) -> frozenset[str]:
        """Receivers that have all of it and found the digest right."""
        return frozenset(self._complete)

    @property
    def waiting(self) -> frozenset[str]:
        """Receivers that do not have all of it yet."""
        return frozenset(self._received) - self._complete

    @property
    def done(self) -> bool:
        """Every receiver that is left has all of it."""
        return not self.waiting

    def heard(self, progress: BlobProgress) -> None:
        """Take a receiver's word. Word about another blob or from a stranger is ignored."""
        who = progress.sender
        if progress.digest != self.ref.digest or who not in self._received:
            return
        if progress.received > self.count or any(index >= self.count for index in progress.missing):
            raise ProtocolError(f"{who} speaks of chunks that blob {self.ref.digest[:12]} does not have")
        first, self._unheard = self._unheard, False
        if first and progress.missing:
            # `missing` has the first ones that lack: what it leaves out below its last is there.
            last, lacking = max(progress.missing), frozenset(progress.missing)
            self._order = [*sorted(lacking), *range(last + 1, self.count)]
        if progress.complete:
            self._complete.add(who)
            self._received[who] = self.count
            self._asked.pop(who, None)
        elif who not in self._complete:
            self._received[who] = progress.received  # may fall: a receiver whose digest failed starts over
            self._asked[who] = () if first else progress.missing  # what lacks at first comes by itself

    def forget(self, receiver: str) -> None:
        """A receiver has left; nobody waits for it any more."""
        self._received.pop(receiver, None)
        self._complete.discard(receiver)
        self._asked.pop(receiver, None)

    def take(self) -> tuple[int, ...]:
        """The indices that may go out to all now; each is handed out once."""
        if self.done or self._unheard:
            return ()
        fastest = sorted(self._received.values(), reverse=True)
        kept = self.count - len(self._order)
        floor = fastest[min(self._quorum, len(fastest)) - 1] - kept
        start, self._next = self._next, max(self._next, min(len(self._order), floor + self._window))
        return tuple(self._order[start : self._next])

    def take_asked(self) -> dict[str, tuple[int, ...]]:
        """What each receiver asked for again and was already sent once, at most a window of it; handed out once."""
        end = self._order[self._next] if self._next < len(self._order) else self.count
        due = {
            who: tuple(index for index in asked if index < end)[: self._window] for who, asked in self._asked.items()
        }
        self._asked.clear()
        return {who: indices for who, indices in due.items() if indices}
