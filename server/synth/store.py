"""Samples on disk, made once: a store holds blocks that are written whole, verified when read and never rewritten.

    STORE/<generator digest>/seed-<base>-black-<limit>-by-<block>/pool.json
    STORE/<generator digest>/seed-<base>-black-<limit>-by-<block>/class-007/00000150.png

The path says what a sample is, so a store serves any number of generators, runs and processes at a time, and its
state changes how long a synthesis takes, never its result. A block is a mosaic of samples number 150, 151 ... of class
7; the file carries what it is and the SHA-256 of its pixels. pool.json is made anew from any block where it is lost.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from server.data.tiles import tile, untile
from server.errors import DataError
from server.files import write_atomic, write_once
from server.synth.mosaic import png_bytes, read_noted_png

FORMAT = "fimi-pool-2"
BLOCK = 50
"""Samples of a block: a stranded half costs a CPU some seconds, and a GPU is still busy with one."""
COLUMNS = 10
_ABANDONED_S = 3600.0
_BLOCK_FILE = re.compile(r"\d{8}\.png")
_CLASS_FOLDER = re.compile(r"class-(\d{3,})")


def sample_seed(base_seed: int, label: int, number: int) -> int:
    """The seed of one sample, below 2**63.

    Up to a base seed of 2**21 the three stand side by side, so no two samples of any pools share one, with up to 2**26
    samples in each of 2**16 classes. A larger one does not fit: then it is 63 bits of a SHA-256 over the three.
    """
    if base_seed < 1 << 21:
        return (base_seed << 42) | (label << 26) | number
    return int.from_bytes(hashlib.sha256(f"{base_seed} {label} {number}".encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Kind:
    """What samples are: number k of class c is the same image wherever it is made, if kinds are equal."""

    generator: str  # its digest
    n_classes: int
    image_shape: tuple[int, int, int]  # (H, W, C)
    base_seed: int = 0  # number k of class c is drawn by `sample_seed(base_seed, c, k)`
    black_below: int = 0  # pixels under this value are made 0: a generator's faint noise on a black background
    block: int = BLOCK  # samples that are made together: an image may differ by rounding with the batch it is in

    def __post_init__(self) -> None:
        if re.fullmatch(r"\w[\w.-]{0,199}", self.generator) is None:
            raise ValueError(f"the digest of a generator is a plain word, not {self.generator!r}")

    @property
    def folder(self) -> str:
        """Below a store's root."""
        return f"{self.generator}/seed-{self.base_seed}-black-{self.black_below}-by-{self.block}"

    def whole(self, wanted: np.ndarray) -> np.ndarray:
        """(C,) samples wanted -> (C,) samples of the whole blocks that hold them."""
        return -(-np.asarray(wanted, dtype=np.int64) // self.block) * self.block


@dataclass(frozen=True, order=True)
class Block:
    """Samples `first` to `first + kind.block - 1` of class `label`; `first` is a multiple of kind.block."""

    label: int
    first: int

    @property
    def file(self) -> str:
        return f"class-{self.label:03d}/{self.first:08d}.png"

    def seeds(self, kind: Kind) -> np.ndarray:
        """(kind.block,) int64."""
        numbers = range(self.first, self.first + kind.block)
        return np.array([sample_seed(kind.base_seed, self.label, k) for k in numbers], dtype=np.int64)


class Index(msgspec.Struct, frozen=True):
    """pool.json."""

    format: str
    kind: Kind

    @property
    def file(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"


class Note(msgspec.Struct, frozen=True):
    """What a block's file says of itself."""

    format: str
    kind: Kind
    label: int
    first: int
    sha256: str  # of the pixels, (block, H, W, C)


class Store:
    """The blocks below `root`; the folder comes into being with the first one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def kinds(self) -> tuple[Kind, ...]:
        """What the store holds samples of, in the order of their folders."""
        folders = sorted({path.parent for path in self.root.glob("*/seed-*/*") if not path.name.startswith(".")})
        return tuple(kind for folder in folders if (kind := self._kind_at(folder)) is not None)

    def blocks(self, kind: Kind) -> set[Block]:
        """Those that are there, by their names."""
        found = set()
        for folder in (self.root / kind.folder).glob("class-*"):
            match = _CLASS_FOLDER.fullmatch(folder.name)
            files = [path.stem for path in folder.iterdir() if _BLOCK_FILE.fullmatch(path.name)] if match else []
            found |= {Block(int(match[1]), int(first)) for first in files if match}
        return found

    def check(self, kind: Kind) -> None:
        """Raise DataError where samples of other classes, or of another size, lie in the place of these."""
        folder = self.root / kind.folder
        held = self._kind_at(folder)
        if held not in (None, kind):
            raise DataError(
                f"{folder} holds images {held.image_shape} of {held.n_classes} classes, not {kind.image_shape} of "
                f"{kind.n_classes}: move it away"
            )

    def holds(self, kind: Kind, block: Block) -> bool:
        return (self.root / kind.folder / block.file).exists()

    def counts(self, kind: Kind) -> np.ndarray:
        """(C,) samples of each class from number 0 up to the first gap."""
        found, counts = self.blocks(kind), np.zeros(kind.n_classes, dtype=np.int64)
        for label in range(kind.n_classes):
            while Block(label, int(counts[label])) in found:
                counts[label] += kind.block
        return counts

    def write(self, kind: Kind, block: Block, images: np.ndarray) -> int:
        """Keep a block of images (block, H, W, C) uint8, unless it is there; returns the bytes written.

        Raises OSError where the disk does not take it; then nothing of it is left.
        """
        wanted = (kind.block, *kind.image_shape)
        if images.shape != wanted or images.dtype != np.uint8:
            raise DataError(f"the generator made {images.dtype} of shape {images.shape}, not uint8 of {wanted}")
        folder = self.root / kind.folder
        index = Index(FORMAT, kind).file
        size = len(index) if write_once(folder / "pool.json", index) else 0
        note = msgspec.json.encode(Note(FORMAT, kind, block.label, block.first, _sha256(images))).decode()
        data = png_bytes(tile(images, COLUMNS), note)
        return size + (len(data) if write_once(folder / block.file, data) else 0)

    def read(self, kind: Kind, block: Block) -> np.ndarray:
        """A block's images (block, H, W, C) uint8; raises DataError where the file is not what its place says."""
        path = self.root / kind.folder / block.file
        if not path.exists():
            raise DataError(f"{path} is missing: the next synthesis makes it again")
        grid, text = read_noted_png(path)
        note = _note(path, text)
        height, width, channels = kind.image_shape
        rows, again = -(-kind.block // COLUMNS), "remove it, and the next synthesis makes it again"
        if (note.kind, note.label, note.first) != (kind, block.label, block.first):
            raise DataError(f"{path} holds samples from {note.first} of class {note.label} of {note.kind}: {again}")
        if grid.shape != (rows * height, COLUMNS * width, channels):
            raise DataError(f"{path} has the shape {grid.shape}, not that of {kind.block} images: {again}")
        images = untile(grid, kind.block, kind.image_shape)
        if _sha256(images) != note.sha256:
            raise DataError(f"{path} was changed since it was made, its pixels have another SHA-256: {again}")
        return images

    def sweep(self, kind: Kind) -> None:
        """Remove what killed processes had begun to write, an hour ago or earlier."""
        for path in (self.root / kind.folder).glob("**/.*.partial"):
            if path.exists() and time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink(missing_ok=True)

    def _kind_at(self, folder: Path) -> Kind | None:
        """From pool.json; where that is lost or torn from a block, and pool.json is written again."""
        path = folder / "pool.json"
        try:
            index = msgspec.json.decode(path.read_bytes(), type=Index)
        except (FileNotFoundError, msgspec.MsgspecError, ValueError):
            found = next(iter(sorted(folder.glob("class-*/[0-9]*.png"))), None)
            if found is None:
                return None
            index = Index(FORMAT, _note(found, read_noted_png(found)[1]).kind)
            write_atomic(path, index.file)
        if index.format != FORMAT:
            raise DataError(f"{path} is of the format {index.format}, this version reads {FORMAT}")
        if self.root / index.kind.folder != folder:
            raise DataError(f"{folder} holds samples that belong to {self.root / index.kind.folder}: move them there")
        return index.kind


def only(kinds: Iterable[Kind], root: Path) -> Kind | None:
    """The one kind there is, None where there is none; raises DataError where there are several."""
    found = tuple(kinds)
    if len(found) > 1:
        folders = ", ".join(kind.folder for kind in found)
        raise DataError(f"{root} holds several kinds of samples that would do ({folders}): leave one of them there")
    return found[0] if found else None


def open_pool(root: Path) -> Store:
    """The store of ready samples at `root`; raises DataError where there is none."""
    store = Store(root)
    if not store.kinds():
        old = " of this format" if (root / "pool.json").exists() else ""
        raise DataError(f"no pool of synthetic samples{old} at {root}; make one with: fimi-server synth-pool")
    return store


def describe(store: Store) -> list[str]:
    """One line a kind, for people: which generator, how many samples of each class, bytes."""
    lines = []
    for kind in store.kinds():
        counts = store.counts(kind)
        size = sum(path.stat().st_size for path in (store.root / kind.folder).glob("class-*/*.png"))
        low, high = int(counts.min()), int(counts.max())
        each = f"{low}" if low == high else f"{low} to {high} ({', '.join(map(str, counts))})"
        what = f"generator {kind.generator[:16]}, seeds of {kind.base_seed}, black below {kind.black_below}"
        held = f"{int(counts.sum())} samples, {each} of each of {kind.n_classes} classes, {size / 1e6:.1f} MB"
        lines.append(f"{what}, blocks of {kind.block}: {held}")
    return lines


def _note(path: Path, text: str) -> Note:
    try:
        return msgspec.json.decode(text, type=Note)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(f"{path} does not say what it holds ({error}): remove it, it is no block of a store") from error


def _sha256(images: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
