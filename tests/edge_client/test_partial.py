"""Chunks of a blob that wait on disk: what a kill or a full disk leaves half of is not there."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from edge_client.agent import partial
from edge_client.agent.partial import Partial
from edge_client.errors import StorageError
from edge_client.protocol.chunks import Assembler, blob_ref, cut

BLOB = bytes(range(250))
REF = blob_ref(BLOB, 100)
HEAD, RECORD = 8 + 32 + 8 + 8, 12


def kept(folder: Path, *indices: int) -> None:
    waiting = Partial(folder, REF)
    waiting.restore(Assembler(REF))
    for index in indices:
        waiting.keep(cut(BLOB, REF, index))


def restored(folder: Path) -> tuple[int, ...]:
    """Which chunks lack."""
    assembler = Assembler(REF)
    Partial(folder, REF).restore(assembler)
    return assembler.missing()


def test_chunks_are_there_again(tmp_path: Path) -> None:
    assert restored(tmp_path) == (0, 1, 2)
    kept(tmp_path, 2, 0)
    assert partial.path_in(tmp_path).stat().st_size == HEAD + 2 * RECORD + 50 + 100
    assert restored(tmp_path) == (1,)
    kept(tmp_path, 1)
    assert restored(tmp_path) == ()
    partial.remove(tmp_path)
    partial.remove(tmp_path)
    assert restored(tmp_path) == (0, 1, 2)


def test_what_is_half_written_or_damaged_is_cut_off(tmp_path: Path) -> None:
    path = partial.path_in(tmp_path)
    kept(tmp_path, 0, 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert restored(tmp_path) == (1, 2)
    assert path.stat().st_size == HEAD + RECORD + 100
    kept(tmp_path, 1, 2)
    raw = bytearray(path.read_bytes())
    raw[HEAD + RECORD + 100 + RECORD + 7] ^= 1  # in chunk 1: what stands behind it is not relied on either
    path.write_bytes(raw)
    assert restored(tmp_path) == (1, 2)


def test_a_file_of_another_blob_or_of_none_begins_again(tmp_path: Path) -> None:
    kept(tmp_path, 0, 1)
    other = blob_ref(BLOB[::-1], 100)
    assembler = Assembler(other)
    Partial(tmp_path, other).restore(assembler)
    assert assembler.received == 0
    assert partial.path_in(tmp_path).stat().st_size == HEAD
    partial.path_in(tmp_path).write_bytes(b"odd")
    assert restored(tmp_path) == (0, 1, 2)


def test_chunks_that_are_not_what_the_digest_means_begin_again(tmp_path: Path) -> None:
    wrong = blob_ref(BLOB[::-1], 100)
    waiting = Partial(tmp_path, REF)
    waiting.restore(Assembler(REF))
    for index in range(3):
        waiting.keep(cut(BLOB[::-1], wrong, index))
    assert restored(tmp_path) == (0, 1, 2)
    assert partial.path_in(tmp_path).stat().st_size == HEAD


def test_a_disk_that_takes_half_a_chunk_keeps_none_of_it(tmp_path: Path) -> None:
    kept(tmp_path, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = partial.path_in(tmp_path).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, hard))  # the kernel then takes 30 bytes more
    try:
        with pytest.raises(StorageError, match="the disk is full: .*samples.partial cannot grow"):
            Partial(tmp_path, REF).keep(cut(BLOB, REF, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert partial.path_in(tmp_path).stat().st_size == size
    assert restored(tmp_path) == (1, 2)
