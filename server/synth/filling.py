"""A stock that runs draw from, and the making of the blocks it lacks, by whoever makes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Generator as Yielding
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from server.errors import DataError, ResourceError
from server.resources import FULL
from server.synth.generator import Generator, Stop, Stopped, never
from server.synth.pool import deal
from server.synth.store import Block, Kind, Store

Made = Yielding[tuple[Block, np.ndarray], None, None]
Maker = Callable[[Kind, Iterable[Block], Stop], Made]
"""Makes blocks, in whatever order: asks for the next one only when it has hands for it; raises Stopped."""


@dataclass(frozen=True)
class SynthProgress:
    """What a long synthesis reports after each block: samples, and the time that the rest will take."""

    done: int
    wanted: int
    left_s: float

    @property
    def line(self) -> str:
        """For people: "150 of 600, 2 min left"."""
        return f"{self.done} of {self.wanted}, {self.left_s / 60:.0f} min left"


@dataclass(frozen=True)
class Stock:
    """Samples of one kind in several stores: `ready` ones are asked first and only read, `own` takes what is made."""

    kind: Kind
    own: Store
    ready: tuple[Store, ...] = ()

    def holds(self, block: Block) -> bool:
        return any(store.holds(self.kind, block) for store in (*self.ready, self.own))

    def missing(self, wanted: np.ndarray) -> list[Block]:
        """The blocks that hold the first wanted[c] samples of class c and are nowhere yet."""
        starts = [range(0, int(n), self.kind.block) for n in wanted]
        blocks = (Block(label, first) for label, own in enumerate(starts) for first in own)
        return [block for block in blocks if not self.holds(block)]

    def images(self, label: int, numbers: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8: samples of a class by their numbers, each block read and verified once."""
        kind = self.kind
        found = np.zeros((len(numbers), *kind.image_shape), np.uint8)
        firsts = numbers // kind.block * kind.block
        for first in np.unique(firsts):
            block, mine = Block(label, int(first)), firsts == first
            stores = (store for store in self.ready if store.holds(kind, block))
            found[mine] = next(stores, self.own).read(kind, block)[numbers[mine] - first]
        return found

    def draw(self, counts: np.ndarray, reach: np.ndarray, *, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Counts (I, C) -> per device images (N, H, W, C) uint8 and labels (N,) int64, of the first reach[c] samples
        of each class; see `pool.deal`."""
        hands = deal(counts, reach, seed=seed)
        if not hands:
            return []
        classes = range(self.kind.n_classes)
        rows = [self.images(label, np.concatenate([hand[label] for hand in hands])) for label in classes]
        ends = np.cumsum(counts, axis=0)
        shards = []
        for device, end in enumerate(ends):
            own = [rows[label][end[label] - counts[device, label] : end[label]] for label in classes]
            labels = np.repeat(np.arange(self.kind.n_classes), counts[device]).astype(np.int64)
            shards.append((np.concatenate(own), labels))
        return shards


def make_block(generator: Generator, kind: Kind, block: Block, stop: Stop = never) -> np.ndarray:
    """A block's images (block, H, W, C) uint8: a matter of kind and block alone, whoever makes it."""
    classes = np.full(kind.block, block.label, dtype=np.int64)
    images = generator.sample(classes, block.seeds(kind), stop)
    return np.where(images < kind.black_below, np.uint8(0), images)


def made_here(load: Callable[[], Generator]) -> Maker:
    """Makes blocks in this process, one after another; `load` is called once, if there is anything to make."""

    def make(kind: Kind, blocks: Iterable[Block], stop: Stop) -> Made:
        generator: Generator | None = None
        for block in blocks:
            if stop():
                raise Stopped
            if generator is None:
                generator = checked(load(), kind)
            yield block, make_block(generator, kind, block, stop)

    return make


def checked(generator: Generator, kind: Kind) -> Generator:
    """The generator, if it is that of this kind; else DataError."""
    if generator.digest != kind.generator:
        raise DataError(
            f"these samples are made by generator {kind.generator[:16]}, not by {generator.digest[:16]}: its "
            "weights or sampling settings are others"
        )
    return generator


def fill(
    stock: Stock,
    wanted: np.ndarray,
    make: Maker,
    *,
    report: Callable[[SynthProgress], None] = lambda _: None,
    stop: Stop = never,
) -> None:
    """Make the blocks that the first wanted[c] samples of class c lack; each is kept as soon as it is made.

    What others make meanwhile is not made again. Raises Stopped where `stop` asks for it, ResourceError where the disk
    is full, and DataError where images of another kind lie in their place; whole blocks are kept and a later call makes
    the rest.
    """
    kind = stock.kind
    stock.own.check(kind)
    left = set(stock.missing(wanted))
    total, sizes, started = int(kind.whole(wanted).sum()), list[int](), time.monotonic()
    if not left:
        return
    stock.own.sweep(kind)

    def still_missing() -> Iterator[Block]:
        for block in sorted(left):
            if stock.holds(block):
                left.discard(block)
            else:
                yield block

    with closing(make(kind, still_missing(), stop)) as made:
        for block, images in made:
            try:
                sizes.append(stock.own.write(kind, block, images))
            except OSError as error:
                if error.errno not in FULL:
                    raise
                there, lacking = total - len(left) * kind.block, len(left) * kind.block
                each = sum(sizes) / len(sizes) if sizes else images.nbytes
                need = f"{'about' if sizes else 'at most'} {each * len(left) / 1e6:.2g} MB"
                raise ResourceError(
                    f"no room left in {stock.own.root}: {there} of {total} samples are there and are kept, the other "
                    f"{lacking} need {need}; make room and give the same command again, it goes on from there"
                ) from error
            left.discard(block)
            left_s = (time.monotonic() - started) / len(sizes) * len(left)
            report(SynthProgress(total - len(left) * kind.block, total, left_s))
