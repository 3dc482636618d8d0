"""Blocks on disk: written once, verified when read, an index that is made again from them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.data.tiles import tile, untile
from server.errors import DataError
from server.synth.mosaic import write_png
from server.synth.pool import load_pool
from server.synth.store import Block, Kind, Store, describe, open_pool, sample_seed

KIND = Kind("f" * 64, 3, (4, 6, 1), block=12)


def images(seed: int, kind: Kind = KIND) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (kind.block, *kind.image_shape), dtype=np.uint8)


def test_a_block_lies_under_what_it_is_and_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(KIND, Block(2, 24), images(0))
    assert np.array_equal(store.read(KIND, Block(2, 24)), images(0))
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("**/*") if path.is_file())
    folder = "f" * 64 + "/seed-0-black-0-by-12"
    assert files == [f"{folder}/class-002/00000024.png", f"{folder}/pool.json"]


def test_kinds_and_colours_stand_side_by_side(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kinds = [KIND, replace(KIND, base_seed=7), replace(KIND, black_below=8), replace(KIND, block=5)]
    kinds.append(Kind("e" * 64, 2, (4, 4, 3), block=12))
    for at, kind in enumerate(kinds):
        store.write(kind, Block(1, 0), images(at, kind))
    for at, kind in enumerate(kinds):
        assert np.array_equal(store.read(kind, Block(1, 0)), images(at, kind))
    assert set(store.kinds()) == set(kinds)
    with pytest.raises(DataError, match="several kinds"):
        load_pool(tmp_path)
    assert load_pool(tmp_path, "e" * 64).counts.tolist() == [0, 12]
    with pytest.raises(DataError, match="no samples of generator d"):
        load_pool(tmp_path, "d")


def test_counts_end_at_the_first_gap(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for label, first in ((0, 0), (0, 12), (0, 36), (2, 12)):
        store.write(KIND, Block(label, first), images(first))
    assert store.counts(KIND).tolist() == [24, 0, 0]
    assert store.blocks(KIND) == {Block(0, 0), Block(0, 12), Block(0, 36), Block(2, 12)}
    assert [len(own) for own in load_pool(tmp_path).images] == [24, 0, 0]


def test_what_is_there_is_never_rewritten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.write(KIND, Block(0, 0), images(0)) > 0
    path = tmp_path / KIND.folder / "class-000" / "00000000.png"
    before = path.stat()
    assert store.write(KIND, Block(0, 0), images(1)) == 0
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [file.name for file in path.parent.iterdir()] == ["00000000.png"]


@pytest.mark.parametrize("lost", ["gone", "torn"])
def test_a_lost_index_is_made_again_from_a_block(tmp_path: Path, lost: str) -> None:
    store = Store(tmp_path)
    store.write(KIND, Block(1, 12), images(0))
    index = tmp_path / KIND.folder / "pool.json"
    whole = index.read_bytes()
    if lost == "gone":
        index.unlink()
    else:
        index.write_bytes(whole[:40])
    assert store.kinds() == (KIND,)
    assert index.read_bytes() == whole
    index.write_bytes(whole.replace(b"fimi-pool-2", b"fimi-pool-9"))
    with pytest.raises(DataError, match="is of the format fimi-pool-9, this version reads fimi-pool-2"):
        store.kinds()


def test_every_block_is_verified_when_it_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for label in range(2):
        store.write(KIND, Block(label, 0), images(label))
    path, other = (tmp_path / KIND.folder / f"class-00{label}" / "00000000.png" for label in range(2))
    whole = path.read_bytes()

    path.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match=r"class-000/00000000\.png holds samples from 0 of class 1"):
        store.read(KIND, Block(0, 0))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is not a whole PNG"):
        store.read(KIND, Block(0, 0))
    write_png(path, tile(images(0), 10))
    with pytest.raises(DataError, match="does not say what it holds"):
        store.read(KIND, Block(0, 0))
    path.unlink()
    with pytest.raises(DataError, match="is missing: the next synthesis makes it again"):
        store.read(KIND, Block(0, 0))


def test_changed_pixels_are_found(tmp_path: Path) -> None:
    """A picture program keeps the text and changes a pixel."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    store = Store(tmp_path)
    store.write(KIND, Block(0, 0), images(0))
    path = tmp_path / KIND.folder / "class-000" / "00000000.png"
    with Image.open(path) as picture:
        pixels, note = np.array(picture), picture.text["fimi"]
    pixels[0, 0] ^= 1
    text = PngInfo()
    text.add_text("fimi", note)
    Image.fromarray(pixels).save(path, pnginfo=text)
    with pytest.raises(DataError, match="was changed since it was made"):
        store.read(KIND, Block(0, 0))


def test_what_does_not_belong_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(DataError, match=r"made uint8 of shape \(11, 4, 6, 1\), not uint8 of \(12, 4, 6, 1\)"):
        store.write(KIND, Block(0, 0), images(0)[:11])
    with pytest.raises(DataError, match="made float64"):
        store.write(KIND, Block(0, 0), images(0) / 255)
    with pytest.raises(ValueError, match="plain word"):
        Kind("../elsewhere", 3, (4, 6, 1))
    with pytest.raises(DataError, match=r"no pool of synthetic samples at .*fimi-server synth-pool"):
        open_pool(tmp_path)
    (tmp_path / "pool.json").write_text('{"format": "fimi-pool-1"}')
    with pytest.raises(DataError, match="no pool of synthetic samples of this format"):
        open_pool(tmp_path)
    store.write(KIND, Block(0, 0), images(0))
    (tmp_path / KIND.folder).rename(tmp_path / KIND.folder.replace("seed-0", "seed-1"))
    with pytest.raises(DataError, match="seed-1-black-0-by-12 holds samples that belong to .*seed-0-black-0-by-12"):
        store.kinds()


def test_what_a_killed_process_had_begun_goes_after_an_hour(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(KIND, Block(0, 0), images(0))
    folder = tmp_path / KIND.folder / "class-000"
    old, new = (folder / f".00000012.png.{pid}.partial" for pid in (1, 2))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.sweep(KIND)
    assert sorted(path.name for path in folder.iterdir()) == [new.name, "00000000.png"]
    assert store.blocks(KIND) == {Block(0, 0)}


def test_the_status_names_generator_and_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for block in (Block(0, 0), Block(0, 12), Block(1, 0)):
        store.write(KIND, block, images(0))
    [line] = describe(store)
    assert line.startswith(
        "generator ffffffffffffffff, seeds of 0, black below 0, blocks of 12: 36 samples, 0 to 24 (24, 12, 0) of each"
    )


def test_seeds_of_a_pool_are_all_different_and_fit_int64() -> None:
    seeds = {sample_seed(base, label, k) for base in (0, 1) for label in range(50) for k in (0, 1, 9999)}
    assert len(seeds) == 300
    assert sample_seed(2**20, 1000, 50_000_000) < 2**63
    assert sample_seed(3, 2, 7) == 3 * 2**42 + 2 * 2**26 + 7  # what shipped pools were made with
    assert Block(2, 24).seeds(KIND).tolist() == [2 * 2**26 + 24 + k for k in range(12)]


@pytest.mark.parametrize("base", [2**21, 2**31 + 1, 2**63])
def test_large_base_seeds_give_different_seeds_too(base: int) -> None:
    seeds = {sample_seed(own, label, k) for own in (base, base + 1) for label in range(20) for k in range(100)}
    assert len(seeds) == 4000
    assert 0 <= min(seeds) <= max(seeds) < 2**63


@given(n=st.integers(0, 11), channels=st.sampled_from([1, 3]))
def test_mosaics_keep_every_image(n: int, channels: int) -> None:
    own = np.random.default_rng(n).integers(0, 256, (n, 4, 6, channels), dtype=np.uint8)
    assert np.array_equal(untile(tile(own, 5), n, (4, 6, channels)), own)
