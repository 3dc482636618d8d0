"""Ready samples in memory, and their dealing to devices without repeats. On disk they are blocks (store.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from server.errors import DataError
from server.synth.store import Block, Kind, Store, only, open_pool


@dataclass(frozen=True)
class Pool:
    """`images[c]` (n, H, W, C) uint8 are samples 0 to n - 1 of class c; for the rest see `store.Kind`."""

    generator: str  # digest of checkpoint and sampling settings
    base_seed: int
    black_below: int
    images: tuple[np.ndarray, ...]

    @property
    def n_classes(self) -> int:
        return len(self.images)

    @property
    def counts(self) -> np.ndarray:
        """(n_classes,) how many samples of each class are there."""
        return np.array([len(own) for own in self.images], dtype=np.int64)


def load_pool(root: Path, generator: str | None = None) -> Pool:
    """All samples of the store at `root`, or of one generator's digest; DataError where several kinds would do."""
    store = open_pool(root)
    kinds = [kind for kind in store.kinds() if generator in (None, kind.generator)]
    kind = only(kinds, root)
    if kind is None:
        raise DataError(f"{root} holds no samples of generator {generator}; make some with: fimi-server synth-pool")
    return read_pool(store, kind)


def read_pool(store: Store, kind: Kind) -> Pool:
    """All samples of a kind, up to the first gap of each class; every block is verified."""
    images = []
    for label, n in enumerate(store.counts(kind)):
        blocks = [store.read(kind, Block(label, first)) for first in range(0, int(n), kind.block)]
        images.append(np.concatenate([np.zeros((0, *kind.image_shape), np.uint8), *blocks]))
    return Pool(kind.generator, kind.base_seed, kind.black_below, tuple(images))


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
