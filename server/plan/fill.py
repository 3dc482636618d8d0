"""Which classes a device's synthetic samples should have: those that make its classes most even.

Entropy of local + synthetic counts is greatest when the low classes are filled up to one level (water-filling):
synth[c] = max(0, level - local[c]) with the level such that the sum is right. In whole numbers the level has a
fraction that is the same for every class under water; largest remainder gives the left-over samples to the first ones.
"""

from __future__ import annotations

import numpy as np


def class_fill(local_counts: np.ndarray, synthetic: int) -> np.ndarray:
    """Synthetic samples a class (C,) int64 for local_counts (C,) >= 0; they sum to `synthetic` >= 0.

    Raises ValueError for a negative amount or negative counts.
    """
    counts = np.asarray(local_counts, dtype=np.int64)
    if synthetic < 0 or (counts < 0).any():
        raise ValueError(f"cannot fill {synthetic} samples over the counts {counts.tolist()}: both must be 0 or more")
    order = np.argsort(counts, kind="stable")
    poured = np.cumsum(counts[order]) + synthetic
    sizes = np.arange(1, len(counts) + 1)
    # The k lowest classes are under water if their level, poured/k, covers the k-th of them.
    flooded = order[: np.flatnonzero(poured >= counts[order] * sizes)[-1] + 1]
    level, left_over = divmod(int(poured[len(flooded) - 1]), len(flooded))
    fill = np.zeros_like(counts)
    fill[flooded] = level - counts[flooded]
    fill[np.sort(flooded)[:left_over]] += 1
    return fill


def entropy(counts: np.ndarray) -> float:
    """Shannon entropy of class counts (C,) in nats; 0 for no samples."""
    total = counts.sum()
    if total == 0:
        return 0.0
    share = counts[counts > 0] / total
    return float(-(share * np.log(share)).sum())
