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

    No device gets a sample twice, and devices share samples only when together they want more than there is. Each
    sample is at home with one device; a device takes its own first, and what it lacks of those that fewest use, both in
    an order of its own. All of this is drawn by (seed, class, number), so hands stay, but for a few, when counts change
    while devices and stock stay, and but for a share k / n when the stock grows from n - k to n: what a device holds
    already need not be sent again. Raises DataError where one device alone wants more than there is.
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
    by_class = [_deal_class(counts[:, label], int(n), (seed, label)) for label, n in enumerate(stock)]
    return [[hands[device] for hands in by_class] for device in range(len(counts))]


def _deal_class(counts: np.ndarray, stock: int, seed: tuple[int, int]) -> list[np.ndarray]:
    """Counts (I,) of one class -> numbers by device."""
    homes, order = np.random.default_rng(seed).random((stock, 2)).T  # the first rows are the same for a larger stock
    homes = (homes * len(counts)).astype(np.int64)
    users = np.zeros(stock, dtype=np.int64)
    hands = []
    for device, want in enumerate(counts):
        own = np.flatnonzero(homes == device)
        own = own[np.argsort(order[own])][:want]
        users[own] += 1
        hands.append(own)
    for device, want in enumerate(counts):
        if lack := int(want) - len(hands[device]):
            taste = np.random.default_rng((*seed, device)).random(stock)
            taken = np.isin(np.arange(stock), hands[device])
            others = np.lexsort((taste, users, taken))[:lack]
            users[others] += 1
            hands[device] = np.concatenate([hands[device], others])
    return hands


def draw(pool: Pool, counts: np.ndarray, *, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Counts (I, C) -> per device images (N, H, W, C) uint8 and labels (N,) int64; see `deal`."""
    shards = []
    for hand in deal(counts, pool.counts, seed=seed):
        images = np.concatenate([own[numbers] for own, numbers in zip(pool.images, hand, strict=True)])
        labels = np.repeat(np.arange(pool.n_classes), [len(numbers) for numbers in hand])
        shards.append((images, labels.astype(np.int64)))
    return shards
