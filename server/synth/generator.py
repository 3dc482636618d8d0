"""The one seam of synthesis: classes and seeds in, images out. Everything behind it can be exchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

Stop = Callable[[], bool]
"""Asked between two steps of long work; once it says True, the work ends with `Stopped`."""


class Stopped(Exception):
    """A synthesis was asked to end early; the blocks it had finished are kept."""


def never() -> bool:
    """Nobody asks for an early end."""
    return False


class Generator(Protocol):
    """Makes labelled images; the same (class, seed) gives the same image wherever it stands in a batch."""

    @property
    def digest(self) -> str:
        """Names weights and sampling settings: two generators of one digest make the same images."""

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        """Classes (N,) int64 and seeds (N,) int64 -> images (N, H, W, C) uint8; raises Stopped."""
