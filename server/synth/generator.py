"""The one seam of synthesis: classes and seeds in, images out. Everything behind it can be exchanged."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Generator(Protocol):
    """Makes labelled images; the same (class, seed) gives the same image wherever it stands in a batch."""

    @property
    def digest(self) -> str:
        """Names weights and sampling settings: two generators of one digest make the same images."""

    def sample(self, classes: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Classes (N,) int64 and seeds (N,) int64 -> images (N, H, W, C) uint8."""
