"""The synthetic samples that a device keeps: one file of slots of one size, each with a sample and its name.

Why slots: their number is the room that the owner gives (`storage_samples`), so no state that the file can be in, half
way between two sets or after a kill, holds more. A slot whose content does not hash to the name in it is free: so is
one that was written half, or that the card has damaged. The order in which samples were last used stands in a small
file beside it; without that one all are equally old.

    samples       magic, H, W, C, then slots of name (8 bytes), label (4) and pixels; numbers are little-endian
    samples.used  names, those used last at the end
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from edge_client.errors import StorageError
from edge_client.protocol.shards import NAME_BYTES, Listing, SetDigest, Shape, sample_names

_HEAD = struct.Struct("<8sHHB3x")
_MAGIC = b"fimismp1"
_LABEL_BYTES = 4
_FREE = bytes(NAME_BYTES)
_SLOTS_AT_ONCE = 256  # read, hashed and held in memory


class SampleStore:
    """Room for `limit` samples of `shape` in `folder`. What is on disk decides; nothing is remembered between calls."""

    def __init__(self, folder: Path, shape: Shape, limit: int) -> None:
        self.shape = shape
        self.limit = limit
        self._path = folder / "samples"
        self._used = folder / "samples.used"
        self._slot_bytes = NAME_BYTES + _LABEL_BYTES + int(np.prod(shape))

    # ---- reading ----

    def lacking(self, listing: Listing) -> np.ndarray:
        """(N,) bool: which samples of the list are not here, the first of each name; reads and hashes all slots."""
        return listing.distinct() & ~np.isin(listing.names, list(self._slots()))

    def holds(self, listing: Listing) -> bool:
        """Whether the samples of the list are here, and together are those that its digest means."""
        try:
            for _ in self.samples(listing):
                pass
        except StorageError:
            return False
        return True

    def read(self, listing: Listing) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, H, W, C) uint8 and labels (N,) int64 in the list's order; raises StorageError unless they are
        exactly those that it means."""
        parts = list(self.samples(listing))
        if not parts:
            return np.empty((0, *self.shape), np.uint8), np.empty(0, np.int64)
        return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])

    def samples(self, listing: Listing) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same some at a time; the error, where there is one, comes at the end at the latest."""
        if listing.shape != self.shape:
            raise StorageError(f"the list's images are {listing.shape}, the samples kept here {self.shape}")
        slots = self._slots()
        whole = SetDigest(self.shape)
        for start in range(0, len(listing.names), _SLOTS_AT_ONCE):
            names = listing.names[start : start + _SLOTS_AT_ONCE]
            try:
                raw = self._rows([slots[int(name)] for name in names])
            except KeyError:
                raise StorageError("samples of the task are not on disk any more, or damaged") from None
            _, images, labels = self._opened(raw)
            whole.add(images, labels)
            yield images, labels
        if whole.hex() != listing.digest:
            raise StorageError("the samples on disk are not those of the task: their digest is another one")

    def held(self) -> int:
        """Whole samples that are here."""
        return len(self._slots())

    # ---- writing ----

    def fit(self) -> None:
        """Let go of what is beyond the limit, which the owner may have lowered."""
        if self._count() > self.limit:
            names = self._by_use(self._slots())
            self._drop(names[: max(0, len(names) - self.limit)])

    def make_room(self, listing: Listing) -> None:
        """Free the slots that the lacking samples of the list need: of what the list does not name, those that were
        used longest ago go first. Raises StorageError where it can never fit."""
        wanted = {int(name) for name in listing.names}
        if len(wanted) > self.limit:
            raise StorageError(f"{len(wanted)} samples exceed the room for {self.limit}")
        slots = self._slots()
        most_others = self.limit - len(wanted)
        others = [name for name in self._by_use(slots) if name not in wanted]
        self._drop(others[: max(0, len(others) - most_others)])

    def add(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Keep these samples too; raises StorageError, and leaves the store as it was, where room or disk is full."""
        slots = self._slots()
        names = sample_names(images, labels).tolist()
        fresh = {name: index for index, name in enumerate(names) if name not in slots}
        if len(slots) + len(fresh) > self.limit:
            raise StorageError(f"{len(slots) + len(fresh)} samples exceed the room for {self.limit}")
        free = iter(sorted(set(range(self.limit)) - set(slots.values())))
        places = {next(free): index for index in fresh.values()}
        with storing(self._path):
            self._begin()
            with self._path.open("r+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                top = self._at(max(places, default=-1) + 1)
                try:
                    if top > end:  # asks the disk for all of it before anything is written
                        os.posix_fallocate(file.fileno(), end, top - end)
                    for place, index in places.items():
                        file.seek(self._at(place))
                        file.write(self._row(names[index], int(labels[index]), images[index]))
                    os.fsync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        os.ftruncate(file.fileno(), end)
                    raise

    def used(self, listing: Listing) -> None:
        """These samples are in use now; kept where the order changes."""
        wanted = dict.fromkeys(int(name) for name in listing.names)
        order = [name for name in self._by_use(self._slots()) if name not in wanted]
        fresh = np.array([*order, *wanted], "<u8").tobytes()
        with storing(self._used):
            if not self._used.exists() or self._used.read_bytes() != fresh:
                partial = self._used.with_suffix(".partial")
                partial.write_bytes(fresh)
                partial.replace(self._used)

    def forget(self, names: Iterable[int]) -> None:
        """Drop these samples, for they cannot be trusted."""
        self._drop(names)

    # ---- the files ----

    def _slots(self) -> dict[int, int]:
        """By name: in which slot its sample is."""
        found: dict[int, int] = {}
        with storing(self._path):
            count = self._count()
            for start in range(0, count, _SLOTS_AT_ONCE):
                places = range(start, min(start + _SLOTS_AT_ONCE, count))
                named, images, labels = self._opened(self._rows(places))
                whole = named == sample_names(images, labels)
                found.update((int(name), place) for name, place, fits in zip(named, places, whole, strict=True) if fits)
        return found

    def _count(self) -> int:
        """Slots of the file; 0 where there is no such file, or it is of another shape."""
        try:
            with self._path.open("rb") as file:
                if file.read(_HEAD.size) != self._head():
                    return 0
                return (file.seek(0, os.SEEK_END) - _HEAD.size) // self._slot_bytes
        except FileNotFoundError:
            return 0

    def _drop(self, names: Iterable[int]) -> None:
        """Free the slots of these samples, and give back what the file has beyond the last one in use."""
        slots = self._slots()
        dropped = [slots.pop(name) for name in names if name in slots]
        with storing(self._path):
            count = self._count()
            if not count:
                return
            with self._path.open("r+b") as file:
                for place in dropped:
                    file.seek(self._at(place))
                    file.write(_FREE)
                # Only where the owner gives less room than before is anything moved.
                free = iter(sorted(set(range(self.limit)) - set(slots.values())))
                for name, place in [(name, place) for name, place in slots.items() if place >= self.limit]:
                    row = self._rows([place]).tobytes()
                    slots[name] = next(free)
                    file.seek(self._at(slots[name]))
                    file.write(row)
                file.truncate(self._at(max(slots.values(), default=-1) + 1))
                file.flush()
                os.fsync(file.fileno())

    def _begin(self) -> None:
        """See that there is a file of our shape."""
        if self._count() or (self._path.exists() and self._path.read_bytes()[: _HEAD.size] == self._head()):
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(self._head())

    def _head(self) -> bytes:
        return _HEAD.pack(_MAGIC, *self.shape)

    def _at(self, place: int) -> int:
        return _HEAD.size + place * self._slot_bytes

    def _rows(self, places: Iterable[int]) -> np.ndarray:
        """Slots as bytes, (n, slot_bytes) uint8."""
        rows = []
        with self._path.open("rb") as file:
            for place in places:
                file.seek(self._at(place))
                rows.append(file.read(self._slot_bytes))
        return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, self._slot_bytes)

    def _row(self, name: int, label: int, image: np.ndarray) -> bytes:
        return struct.pack("<QI", name, label) + image.tobytes()

    def _opened(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Names (n,) uint64, images (n, H, W, C) and labels (n,) int64 of slots."""
        head = np.ascontiguousarray(rows[:, : NAME_BYTES + _LABEL_BYTES])
        names = np.ascontiguousarray(head[:, :NAME_BYTES]).view("<u8")[:, 0].astype(np.uint64)
        labels = np.ascontiguousarray(head[:, NAME_BYTES:]).view("<u4")[:, 0].astype(np.int64)
        return names, np.ascontiguousarray(rows[:, head.shape[1] :]).reshape(-1, *self.shape), labels

    def _by_use(self, names: Iterable[int]) -> list[int]:
        """These names, those used longest ago first; those of which nothing is known before all others."""
        try:
            blob = self._used.read_bytes()
        except OSError:
            blob = b""
        known = np.frombuffer(blob[: len(blob) // NAME_BYTES * NAME_BYTES], "<u8").tolist()
        last = {name: number for number, name in enumerate(known)}
        return sorted(names, key=lambda name: last.get(name, -1))


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """What the disk refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(f"the disk is full: {path} cannot grow; free some, or lower storage_samples") from error
        raise StorageError(f"{path}: {error.strerror or error}") from error


def write_whole(path: Path, blob: bytes) -> None:
    """A file whole or not at all, its folder made where it lacks; raises StorageError."""
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".fresh")
        fresh.write_bytes(blob)
        fresh.replace(path)
