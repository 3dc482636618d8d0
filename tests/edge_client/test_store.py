"""The samples that a device keeps: no more than its room, those used last longest, and what is damaged is not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.errors import StorageError
from edge_client.protocol.shards import Listing, pack_list, unpack_list
from edge_client.training.store import SampleStore

SHAPE = (2, 3, 1)
SLOT = 8 + 4 + 6
HEAD = 16


def sample(number: int) -> tuple[np.ndarray, int]:
    return np.full(SHAPE, number, np.uint8), number % 3


def samples(*numbers: int) -> tuple[np.ndarray, np.ndarray]:
    made = [sample(number) for number in numbers]
    return np.array([x for x, _ in made], np.uint8).reshape(-1, *SHAPE), np.array([y for _, y in made], np.int64)


def listing(*numbers: int) -> Listing:
    return unpack_list(pack_list(*samples(*numbers)))


def give(store: SampleStore, *numbers: int) -> list[bool]:
    """What a client does with a new list; which of its samples lacked."""
    wanted = listing(*numbers)
    lacking = store.lacking(wanted)
    store.make_room(wanted)
    images, labels = samples(*numbers)
    store.add(images[lacking], labels[lacking])
    store.used(wanted)
    return lacking.tolist()


def test_only_what_is_not_there_lacks(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, SHAPE, 6)
    assert give(store, 1, 2, 3) == [True, True, True]
    assert give(store, 3, 4, 1) == [False, True, False]
    again = SampleStore(tmp_path, SHAPE, 6)  # a client that was started again
    images, labels = again.read(listing(3, 4, 1))
    assert images[:, 0, 0, 0].tolist() == [3, 4, 1]
    assert labels.tolist() == [0, 1, 1]
    assert again.lacking(listing(5, 5, 2)).tolist() == [True, False, False]  # one that is there twice lacks once
    assert give(again, 5, 5, 2) == [True, False, False]
    assert again.read(listing(5, 5, 2))[0][:, 0, 0, 0].tolist() == [5, 5, 2]


def test_those_used_longest_ago_go_first_and_never_those_that_are_wanted(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, SHAPE, 4)
    give(store, 1, 2)
    give(store, 3, 4)
    give(store, 1, 5)  # room for four: 2 goes, for 3 and 4 were used after it
    assert store.lacking(listing(1, 2, 3, 4, 5)).tolist() == [False, True, False, False, False]
    give(store, 6, 7, 3, 8)  # 4, 1 and 5 go
    assert store.lacking(listing(1, 3, 4, 5, 6, 7, 8)).tolist() == [True, False, True, True, False, False, False]
    with pytest.raises(StorageError, match="5 samples exceed the room for 4"):
        store.make_room(listing(1, 2, 3, 4, 5))
    with pytest.raises(StorageError, match="5 samples exceed the room for 4"):
        store.add(*samples(9))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6), st.data())
def test_what_is_there_is_what_was_asked_for(tmp_path_factory: pytest.TempPathFactory, room: int,
                                             sets: list[list[int]], data: st.DataObject) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("store")
    for numbers in sets:
        store = SampleStore(folder, SHAPE, room)
        if len(set(numbers)) > room:
            continue
        if (folder / "samples").exists() and data.draw(st.booleans()):  # a card that lost something
            raw = bytearray((folder / "samples").read_bytes())
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 0xFF
            (folder / "samples").write_bytes(raw)
        give(store, *numbers)
        images, labels = store.read(listing(*numbers))
        np.testing.assert_array_equal(images, samples(*numbers)[0])
        np.testing.assert_array_equal(labels, samples(*numbers)[1])
        assert store.held() <= room
        assert not (folder / "samples").exists() or (folder / "samples").stat().st_size <= HEAD + room * SLOT


def test_damage_is_a_sample_that_is_not_there(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, SHAPE, 3)
    give(store, 1, 2, 3)
    raw = bytearray((tmp_path / "samples").read_bytes())
    raw[HEAD + SLOT + 15] ^= 1  # a pixel of the second slot
    (tmp_path / "samples").write_bytes(raw[:-1])  # and the last slot is cut
    assert store.lacking(listing(1, 2, 3)).tolist() == [False, True, True]
    assert not store.holds(listing(1, 2, 3))
    with pytest.raises(StorageError, match="not on disk any more, or damaged"):
        store.read(listing(1, 2))
    (tmp_path / "samples.used").write_bytes(b"odd")
    assert give(store, 2, 1, 3) == [True, False, True]
    store.read(listing(2, 1, 3))


def test_a_set_that_is_not_the_one_meant_is_found_by_its_digest(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, SHAPE, 3)
    give(store, 1, 2)
    other = Listing(SHAPE, listing(1, 2).names, "0" * 64)
    assert not store.holds(other)
    with pytest.raises(StorageError, match="their digest is another one"):
        store.read(other)
    store.forget(listing(1).names.tolist())
    assert store.lacking(listing(1, 2)).tolist() == [True, False]


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SampleStore(tmp_path, SHAPE, 5)
    give(store, 1, 2)
    before = (tmp_path / "samples").read_bytes()

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="the disk is full: .*samples cannot grow"):
        store.add(*samples(3, 4))
    assert (tmp_path / "samples").read_bytes() == before


def test_a_disk_that_takes_less_than_it_promised_leaves_no_half_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SampleStore(tmp_path, SHAPE, 5)
    give(store, 1, 2)
    before = (tmp_path / "samples").read_bytes()

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match="Input/output error"):
        store.add(*samples(3, 4))
    assert (tmp_path / "samples").read_bytes() == before


def test_an_owner_who_gives_less_room_gets_it_back(tmp_path: Path) -> None:
    give(SampleStore(tmp_path, SHAPE, 6), 1, 2, 3, 4, 5, 6)
    give(SampleStore(tmp_path, SHAPE, 6), 6, 1)
    less = SampleStore(tmp_path, SHAPE, 3)
    less.fit()
    assert (tmp_path / "samples").stat().st_size == HEAD + 3 * SLOT
    assert less.held() == 3
    assert less.lacking(listing(6, 1)).tolist() == [False, False]


def test_images_of_another_shape_are_another_store(tmp_path: Path) -> None:
    give(SampleStore(tmp_path, SHAPE, 3), 1, 2)
    other = SampleStore(tmp_path, (3, 2, 1), 3)
    assert other.held() == 0
    with pytest.raises(StorageError, match=r"images are \(2, 3, 1\), the samples kept here \(3, 2, 1\)"):
        other.read(listing(1))
    other.add(samples(1)[0].reshape(1, 3, 2, 1), np.array([1]))
    assert (other.held(), (tmp_path / "samples").stat().st_size) == (1, HEAD + SLOT)
