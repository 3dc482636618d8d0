"""Blocks made once: in steps, after a stop, a kill or a full disk, always the same ones; and drawn without repeats."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server import files
from server.errors import DataError, ResourceError
from server.synth.filling import Stock, SynthProgress, fill, made_here
from server.synth.generator import Stopped
from server.synth.store import Block, Kind, Store
from tests.synth.fake_generator import FakeGenerator

KIND = Kind("f" * 64, 3, (8, 8, 1), block=4)


def stock(folder: Path, *ready: Path, kind: Kind = KIND) -> Stock:
    return Stock(kind, Store(folder), tuple(map(Store, ready)))


def grow(to: Stock, wanted: list[int], generator: FakeGenerator | None = None, **more: object) -> FakeGenerator:
    generator = generator or FakeGenerator()
    fill(to, np.array(wanted), made_here(lambda: generator), **more)
    return generator


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*") if path.is_file()}


def test_grown_in_steps_is_grown_at_once_and_no_sample_is_asked_for_twice(tmp_path: Path) -> None:
    grow(stock(tmp_path / "once"), [7, 2, 5])
    generator = grow(stock(tmp_path / "steps"), [3, 0, 5])
    grow(stock(tmp_path / "steps"), [7, 2, 1], generator)
    assert len(set(generator.asked)) == len(generator.asked) == 8 + 4 + 8
    assert files_of(tmp_path / "steps") == files_of(tmp_path / "once")
    assert Store(tmp_path / "once").counts(KIND).tolist() == [8, 4, 8]


def test_every_block_is_a_batch_of_one_size_and_class(tmp_path: Path) -> None:
    class Batches(FakeGenerator):
        def sample(self, classes: np.ndarray, *rest: object) -> np.ndarray:
            batches.append(classes.tolist())
            return super().sample(classes, *rest)

    batches: list[list[int]] = []
    grow(stock(tmp_path), [5, 0, 1], Batches())
    assert batches == [[0] * 4, [0] * 4, [2] * 4]


def test_an_interrupted_synthesis_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        grow(stock(tmp_path / "a"), [6, 6, 6], FakeGenerator(fail_after=8))
    assert Store(tmp_path / "a").counts(KIND).tolist() == [8, 0, 0]
    seen: list[SynthProgress] = []
    assert len(grow(stock(tmp_path / "a"), [6, 6, 6], report=seen.append).asked) == 16
    assert [(now.done, now.wanted) for now in seen] == [(12, 24), (16, 24), (20, 24), (24, 24)]
    assert seen[0].left_s > seen[-1].left_s == 0.0
    assert SynthProgress(12, 24, 90.0).line == "12 of 24, 2 min left"
    grow(stock(tmp_path / "b"), [6, 6, 6])
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_synthesis_that_is_asked_to_stop_keeps_its_whole_blocks(tmp_path: Path) -> None:
    generator = FakeGenerator()
    with pytest.raises(Stopped):
        grow(stock(tmp_path), [6, 6, 6], generator, stop=lambda: len(generator.asked) >= 4)
    assert Store(tmp_path).counts(KIND).tolist() == [4, 0, 0]


def test_what_another_process_makes_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    other = FakeGenerator()

    def lend_a_hand(_: SynthProgress) -> None:
        if not other.asked:
            grow(stock(tmp_path), [8, 8, 0], other)

    mine = grow(stock(tmp_path), [8, 8, 4], report=lend_a_hand)
    assert (len(mine.asked), len(other.asked)) == (8, 12)
    assert not set(mine.asked) & set(other.asked)
    assert Store(tmp_path).counts(KIND).tolist() == [8, 8, 4]


def test_another_generator_makes_nothing_of_this_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are made by generator eeee.*, not by ffff"):
        grow(stock(tmp_path, kind=Kind("e" * 64, 3, (8, 8, 1))), [1, 1, 1])
    assert not files_of(tmp_path)


def test_samples_of_other_classes_or_size_in_their_place_are_refused(tmp_path: Path) -> None:
    """The folder of a kind does not tell how many classes there are: of another data set they could be mixed up."""
    grow(stock(tmp_path), [3, 3, 3])
    before = files_of(tmp_path)
    other = replace(KIND, n_classes=4)
    with pytest.raises(DataError, match=r"holds images .* of 3 classes, not .* of 4: move"):
        grow(stock(tmp_path, kind=other), [3] * other.n_classes)
    assert files_of(tmp_path) == before


def test_a_full_stock_needs_no_generator(tmp_path: Path) -> None:
    grow(stock(tmp_path), [4, 4, 4])

    def load() -> FakeGenerator:
        raise AssertionError("opened for nothing")

    fill(stock(tmp_path), np.array([1, 4, 2]), made_here(load))


def test_faint_noise_is_made_black(tmp_path: Path) -> None:
    dark = Kind("f" * 64, 3, (8, 8, 1), black_below=100, block=4)
    grow(stock(tmp_path), [4, 0, 0])
    grow(stock(tmp_path, kind=dark), [4, 0, 0])
    plain, black = (Store(tmp_path).read(kind, Block(0, 0)) for kind in (KIND, dark))
    assert np.array_equal(black, np.where(plain < 100, 0, plain))
    assert 0 < (plain < 100).mean() < 1


# ---- killed, and out of room -------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
import numpy as np
from server.synth.filling import Stock, fill, made_here
from server.synth.store import Store
from tests.synth.test_filling import KIND
from tests.synth.fake_generator import FakeGenerator

def tell(now):
    print(now.done, flush=True)
    if now.done == 8:
        sys.stdin.read()

fill(Stock(KIND, Store(Path(sys.argv[1]))), np.array([8, 8, 8]), made_here(FakeGenerator), report=tell)
"""


def test_after_sigkill_it_goes_on_from_the_last_whole_block(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "a")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in range(2)] == ["4", "8"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(grow(stock(tmp_path / "a"), [8, 8, 8]).asked) == 16
    grow(stock(tmp_path / "b"), [8, 8, 8])
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_full_disk_is_named_with_what_is_kept_and_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index and two blocks fit; then there is no room."""
    written: list[Path] = []
    real = files._write_synced

    def small(path: Path, data: bytes) -> None:
        if len(written) == 3:
            path.write_bytes(data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_synced", small)
        with pytest.raises(ResourceError) as refused:
            grow(stock(tmp_path), [6, 6, 6])
    words = str(refused.value)
    assert words.startswith(
        f"no room left in {tmp_path}: 8 of 24 samples are there and are kept, the other 16 need about 0."
    )
    assert "give the same command again" in words
    assert not list(tmp_path.glob("**/.*"))  # no half file that takes room
    assert len(grow(stock(tmp_path), [6, 6, 6]).asked) == 16


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 64 KiB; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a tmpfs here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ResourceError, match=rf"no room left in {small_disk}: \d+ of 240 samples are there and are kept"
    ):
        grow(stock(small_disk), [80, 80, 80])
    kept = int(Store(small_disk).counts(KIND).sum())
    assert 0 < kept < 240
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert len(grow(stock(small_disk), [80, 80, 80]).asked) == 240 - kept
    grow(stock(tmp_path / "roomy"), [80, 80, 80])
    assert files_of(small_disk) == files_of(tmp_path / "roomy")


# ---- drawing -----------------------------------------------------------------------------------------------------


def test_ready_blocks_are_taken_first_and_only_the_rest_is_made(tmp_path: Path) -> None:
    grow(stock(tmp_path / "ready"), [4, 8, 0])
    before = files_of(tmp_path / "ready")
    both = stock(tmp_path / "own", tmp_path / "ready")
    generator = grow(both, [8, 8, 4])
    assert len(generator.asked) == 8
    assert files_of(tmp_path / "ready") == before
    grow(stock(tmp_path / "whole"), [8, 8, 4])
    counts = np.array([[5, 2, 0], [3, 6, 4]])
    reach = np.array([8, 8, 4])
    for (x, y), (x2, y2) in zip(
        both.draw(counts, reach, seed=3), stock(tmp_path / "whole").draw(counts, reach, seed=3), strict=True
    ):
        assert np.array_equal(x, x2)
        assert np.array_equal(y, y2)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    made = stock(tmp_path_factory.mktemp("store"))
    grow(made, [12, 12, 12])
    return made


@settings(deadline=None, max_examples=40)
@given(counts=arrays(np.int64, (3, 3), elements=st.integers(0, 12)), seed=st.integers(0, 2**32))
def test_no_device_is_dealt_an_image_twice_and_each_is_of_its_class(
    ready: Stock, counts: np.ndarray, seed: int
) -> None:
    """Every image of the fake tells class and seed apart, so equal images are equal samples."""
    by_class = [{image.tobytes() for image in ready.images(label, np.arange(12))} for label in range(3)]
    assert [len(own) for own in by_class] == [12] * 3
    shards = ready.draw(counts, np.array([12, 12, 12]), seed=seed)
    for device, (x, y) in enumerate(shards):
        assert y.tolist() == np.repeat(np.arange(3), counts[device]).tolist()
        assert len({image.tobytes() for image in x}) == len(x)
        assert all(image.tobytes() in by_class[label] for image, label in zip(x, y, strict=True))
    for label in np.flatnonzero(counts.sum(axis=0) <= 12):
        together = [image.tobytes() for x, y in shards for image in x[y == label]]
        assert len(set(together)) == len(together)  # while the stock lasts, devices share none


def test_nobody_to_draw_for_is_no_shard(ready: Stock) -> None:
    assert ready.draw(np.zeros((0, 3), np.int64), np.array([12, 12, 12]), seed=0) == []
