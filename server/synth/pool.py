"""Ready samples: made once by (generator, class, seed), kept on disk, dealt out to devices without repeats.

On disk a pool is a folder: pool.json, and per class one mosaic whose name holds its class and count
("class-03-01200.png"). A grown mosaic is written under its new name before the old one goes, so that a synthesis that
is cut off at any moment goes on from its last whole block.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from server.data.tiles import tile, untile
from server.errors import DataError
from server.files import write_atomic
from server.synth.generator import Generator, Stop, Stopped, never
from server.synth.mosaic import read_png, write_png

FORMAT = "fimi-pool-1"
COLUMNS = 50
_NAME = re.compile(r"class-(\d+)-(\d+)\.png")


@dataclass(frozen=True)
class Pool:
    """`images[c]` (n, H, W, C) uint8 are the samples of class c, number k drawn by `sample_seed(base_seed, c, k)`."""

    generator: str  # digest of checkpoint and sampling settings
    base_seed: int
    black_below: int  # pixels under this value were made 0: a generator's faint noise on a black background
    images: tuple[np.ndarray, ...]

    @property
    def n_classes(self) -> int:
        return len(self.images)

    @property
    def counts(self) -> np.ndarray:
        """(n_classes,) how many samples of each class are there."""
        return np.array([len(own) for own in self.images], dtype=np.int64)


@dataclass(frozen=True)
class SynthProgress:
    """What a long synthesis reports after each block."""

    done: int
    wanted: int


def empty_pool(
    generator: str, n_classes: int, image_shape: tuple[int, int, int], *, base_seed: int = 0, black_below: int = 0
) -> Pool:
    """A pool to `grow`; `image_shape` is (H, W, C)."""
    none = np.zeros((0, *image_shape), np.uint8)
    return Pool(generator, base_seed, black_below, (none,) * n_classes)


def sample_seed(base_seed: int, label: int, number: int) -> int:
    """The seed of one sample, below 2**63.

    Up to a base seed of 2**21 the three stand side by side, so no two samples of any pools share one, with up to 2**26
    samples in each of 2**16 classes. A larger one does not fit: then it is 63 bits of a SHA-256 over the three.
    """
    if base_seed < 1 << 21:
        return (base_seed << 42) | (label << 26) | number
    return int.from_bytes(hashlib.sha256(f"{base_seed} {label} {number}".encode()).digest()[:8], "big") >> 1


def deal(counts: np.ndarray, stock: np.ndarray, *, seed: int) -> list[list[np.ndarray]]:
    """Which samples each device gets: counts (I, C) wanted, stock (C,) there -> [device][class] numbers in the pool.

    No device gets a sample twice. Per class, one shuffled row of the stock goes round: devices share samples only
    when together they want more than there is. Raises DataError where one device alone wants more.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[1] != len(stock) or (counts < 0).any():
        raise DataError(f"counts of shape {counts.shape} do not fit a pool of {len(stock)} classes")
    short = np.argwhere(counts > stock)
    if len(short):
        device, label = short[0]
        raise DataError(
            f"device {device} wants {counts[device, label]} synthetic samples of class {label}, the pool has "
            f"{stock[label]}: make more with fimi-server synth-pool"
        )
    hands: list[list[np.ndarray]] = [[] for _ in counts]
    for label, n in enumerate(stock):
        row = np.random.default_rng((seed, label)).permutation(n)
        starts = np.cumsum(counts[:, label]) - counts[:, label]
        for hand, start, want in zip(hands, starts, counts[:, label], strict=True):
            hand.append(row[(start + np.arange(want)) % max(n, 1)])
    return hands


def draw(pool: Pool, counts: np.ndarray, *, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Counts (I, C) -> per device images (N, H, W, C) uint8 and labels (N,) int64; see `deal`."""
    shards = []
    for hand in deal(counts, pool.counts, seed=seed):
        images = np.concatenate([own[numbers] for own, numbers in zip(pool.images, hand, strict=True)])
        labels = np.repeat(np.arange(pool.n_classes), [len(numbers) for numbers in hand])
        shards.append((images, labels.astype(np.int64)))
    return shards


def grow(
    pool: Pool,
    generator: Generator,
    wanted: np.ndarray,
    *,
    folder: Path | None = None,
    block: int = 100,
    report: Callable[[SynthProgress], None] = lambda _: None,
    stop: Stop = never,
) -> Pool:
    """Sample until class c has wanted[c] samples; never takes any away. Saves to `folder` after each block of samples.

    Blocks start at multiples of `block`, so that a pool grown in steps is the pool grown at once. Raises Stopped where
    `stop` asks for it, before or within a block.
    """
    if generator.digest != pool.generator:
        raise DataError("this pool was made by another generator, or with other sampling settings: start a new one")
    goal = np.maximum(np.asarray(wanted, dtype=np.int64), pool.counts)
    if folder is not None:
        save_pool(folder, pool)
    for label in range(pool.n_classes):
        while (n := len(pool.images[label])) < goal[label]:
            if stop():
                raise Stopped
            end = min((n // block + 1) * block, int(goal[label]))
            seeds = np.array([sample_seed(pool.base_seed, label, k) for k in range(n, end)], dtype=np.int64)
            fresh = generator.sample(np.full(end - n, label, dtype=np.int64), seeds, stop)
            fresh = np.where(fresh < pool.black_below, np.uint8(0), fresh)
            own = np.concatenate([pool.images[label], fresh])
            pool = replace(pool, images=(*pool.images[:label], own, *pool.images[label + 1 :]))
            if folder is not None:
                _save_class(folder, label, own)
            report(SynthProgress(int(pool.counts.sum()), int(goal.sum())))
    return pool


def save_pool(folder: Path, pool: Pool) -> None:
    """Write the pool; a folder that holds another generator's pool is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "format": FORMAT,
        "generator": pool.generator,
        "base_seed": pool.base_seed,
        "black_below": pool.black_below,
        "n_classes": pool.n_classes,
        "image_shape": list(pool.images[0].shape[1:]),
    }
    index = folder / "pool.json"
    if index.exists():
        if _read_index(index) != facts:
            raise DataError(
                f"{folder} holds a pool of another generator or other settings: move it away or choose another folder"
            )
    else:
        write_atomic(index, (json.dumps(facts, indent=1) + "\n").encode())
    for label, own in enumerate(pool.images):
        if len(own) and not _file(folder, label, len(own)).exists():
            _save_class(folder, label, own)


def load_pool(folder: Path) -> Pool:
    """Read what `save_pool` or an interrupted `grow` left."""
    index = folder / "pool.json"
    if not index.exists():
        raise DataError(f"no pool of synthetic samples at {folder}; make one with: fimi-server synth-pool")
    facts = _read_index(index)
    height, width, channels = facts["image_shape"]
    pool = empty_pool(
        facts["generator"],
        facts["n_classes"],
        (height, width, channels),
        base_seed=facts["base_seed"],
        black_below=facts["black_below"],
    )
    images = list(pool.images)
    for path in sorted(folder.glob("class-*.png")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        label, n = int(match[1]), int(match[2])
        if label < len(images) and n > len(images[label]):
            grid = read_png(path)
            rows = -(-n // COLUMNS)
            if grid.shape != (rows * height, COLUMNS * width, channels):
                raise DataError(f"{path} has the shape {grid.shape}, not that of {n} images of {height}x{width}")
            images[label] = untile(grid, n, (height, width, channels))
    return replace(pool, images=tuple(images))


def _read_index(path: Path) -> dict:
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DataError(f"{path} is not a pool of this format ({FORMAT})")
    return facts


def _file(folder: Path, label: int, n: int) -> Path:
    return folder / f"class-{label:02d}-{n:05d}.png"


def _save_class(folder: Path, label: int, images: np.ndarray) -> None:
    path = _file(folder, label, len(images))
    write_png(path, tile(images, COLUMNS))
    for old in folder.glob(f"class-{label:02d}-*.png"):
        if old != path:
            old.unlink()
