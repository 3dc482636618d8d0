"""Selection: a sample that an ensemble does not recognise as its class is drawn again, from a seed of its own.

What is asked for is only that the ensemble gives the class a probability of `threshold` or more. All that passes is
kept as it comes, typical or not: choosing the best would make the samples alike, and a network learns least from those.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from server.errors import ConfigError
from server.synth.generator import Generator, Stop, never
from server.synth.judges import Judges, load_judges

ATTEMPTS = 8


class Selected:
    """Another generator's images without those that `judges` do not recognise; implements `Generator` itself.

    One (class, seed) is one image as far as it is with the generator inside: attempt 0 is the seed's own image,
    attempt k that of `seed_of_attempt(seed, k)`, and the first to pass is taken. Should all `attempts` fail, the best
    recognised of them stands. Where the generator itself gives an image that differs by a grey level in another batch,
    a verdict on the edge may turn.
    """

    def __init__(
        self, generator: Generator, judges: Judges, threshold: float, *, black_below: int = 0, attempts: int = ATTEMPTS
    ) -> None:
        """`black_below`: images are judged as the pool will keep them (see `Pool`), but returned as they are made."""
        if not 0.0 < threshold <= 1.0:
            raise ConfigError(f"selection: the threshold is {threshold}; a probability above 0, at most 1")
        self._generator = generator
        self._judges = judges
        self._threshold = threshold
        self._black_below = black_below
        self._attempts = attempts
        settings = json.dumps([generator.digest, judges.digest, threshold, black_below, attempts])
        self._digest = hashlib.sha256(settings.encode()).hexdigest()

    @property
    def digest(self) -> str:
        return self._digest

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        """Classes (N,) and seeds (N,) int64 -> images (N, H, W, C) uint8; raises Stopped."""
        images = np.array(self._generator.sample(classes, seeds, stop))  # a copy: some are replaced
        best = self._recognised(images, classes)
        for attempt in range(1, self._attempts):
            left = np.flatnonzero(best < self._threshold)
            if not len(left):
                break
            again = np.array([seed_of_attempt(int(seed), attempt) for seed in seeds[left]], dtype=np.int64)
            fresh = self._generator.sample(classes[left], again, stop)
            found = self._recognised(fresh, classes[left])
            better = found > best[left]
            images[left[better]], best[left[better]] = fresh[better], found[better]
        return images

    def _recognised(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        return self._judges.recognised(blackened(images, self._black_below), classes)


def selected(generator: Generator, folder: Path, threshold: float, *, black_below: int = 0) -> Generator:
    """`generator` with selection by the judges in its `folder`; as it is where `threshold` is 0.

    Raises DataError where the judges are missing.
    """
    if threshold == 0.0:
        return generator
    return Selected(generator, load_judges(folder), threshold, black_below=black_below)


def seed_of_attempt(seed: int, attempt: int) -> int:
    """63 bits of a SHA-256 over the two: no pool's own seeds, and others for every sample."""
    return int.from_bytes(hashlib.sha256(f"select {seed} {attempt}".encode()).digest()[:8], "big") >> 1


def blackened(images: np.ndarray, below: int) -> np.ndarray:
    """Pixels darker than `below` made 0."""
    return np.where(images < below, np.uint8(0), images) if below else images
