"""What a generator gave, kept on disk by its digest: a measurement that is cut off draws no image twice."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from server.errors import DataError
from server.files import write_atomic
from server.synth.generator import Generator, Stop, Stopped, never

BLOCK = 100

Images = dict[tuple[int, int], np.ndarray]
"""By (class, seed)."""


@dataclass(frozen=True)
class Drawn:
    """`done` of `wanted` images that were not there, and the seconds that the rest will take."""

    done: int
    wanted: int
    left_s: float


class StoredGenerator:
    """A generator that remembers; implements `Generator` with the digest, and the images, of the one inside."""

    def __init__(
        self,
        inner: Generator,
        folder: Path,
        *,
        known: Mapping[tuple[int, int], np.ndarray] | None = None,
        report: Callable[[Drawn], None] = lambda _: None,
    ) -> None:
        """`folder` is shared by all generators; `known` are images of this one that lie elsewhere already."""
        self._inner = inner
        self._folder = folder / inner.digest[:32]
        self._images: Images = dict(known or {})
        self._report = report
        self._blocks = 0
        for path in sorted(self._folder.glob("block-*.npz")):
            self._images |= _read_block(path, inner.digest)
            self._blocks = int(path.stem.partition("-")[2]) + 1

    @property
    def digest(self) -> str:
        return self._inner.digest

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        """Classes (N,) and seeds (N,) int64 -> images (N, H, W, C) uint8; draws, and keeps, those not there yet."""
        wanted = list(zip(classes.tolist(), seeds.tolist(), strict=True))
        lacking = [one for one in dict.fromkeys(wanted) if one not in self._images]
        started = time.monotonic()
        for start in range(0, len(lacking), BLOCK):
            if stop():
                raise Stopped
            part = lacking[start : start + BLOCK]
            own_classes, own_seeds = np.array(part, dtype=np.int64).T
            self._keep(own_classes, own_seeds, self._inner.sample(own_classes, own_seeds, stop))
            done = start + len(part)
            self._report(Drawn(done, len(lacking), (time.monotonic() - started) / done * (len(lacking) - done)))
        return np.stack([self._images[one] for one in wanted]) if wanted else self._inner.sample(classes, seeds)

    def _keep(self, classes: np.ndarray, seeds: np.ndarray, images: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, digest=np.array(self.digest), classes=classes, seeds=seeds, images=images)
        write_atomic(self._folder / f"block-{self._blocks:05d}.npz", buffer.getvalue())
        self._blocks += 1
        self._images |= _by_key(classes, seeds, images)


def _read_block(path: Path, digest: str) -> Images:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            if str(held["digest"]) != digest:
                raise DataError(f"{path} holds images of another generator; remove its folder")
            return _by_key(held["classes"], held["seeds"], held["images"])
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a whole block of samples ({error}); remove it") from error


def _by_key(classes: np.ndarray, seeds: np.ndarray, images: np.ndarray) -> Images:
    return dict(zip(zip(classes.tolist(), seeds.tolist(), strict=True), images, strict=True))
