"""Which classes a device's synthetic samples should have: those that make its classes most even.

Entropy of local + synthetic counts is greatest when the low classes are filled up to one level (water-filling):
synth[c] = max(0, level - local[c]) with the level such that the sum is right. In whole numbers the level has a
fraction that is the same for every class under water; largest remainder gives the left-over samples to the first ones.
"""

from __future__ import annotations

import numpy as np

_CHUNK = 65_536  # devices at a time: what a processor's cache holds


def class_fill(local_counts: np.ndarray, synthetic: np.ndarray | int) -> np.ndarray:
    """Synthetic samples a class for local_counts >= 0; `synthetic` >= 0 of them.

    One device: (C,) and a number give (C,) int64. Many: (I, C) and (I,) give (I, C) int32. Raises ValueError for a
    negative amount or negative counts.
    """
    counts, amounts = np.asarray(local_counts), np.asarray(synthetic)
    if amounts.min(initial=0) < 0 or counts.min(initial=0) < 0:
        raise ValueError(f"cannot fill {amounts} samples over the counts {counts.tolist()}: both must be 0 or more")
    if counts.ndim == 1:
        return _fill(counts[None, :], amounts.reshape(1))[0]
    fills = np.empty(counts.shape, dtype=np.int32)
    for first in range(0, len(counts), _CHUNK):
        part = slice(first, first + _CHUNK)
        fills[part] = _fill(counts[part], amounts[part])
    return fills


def _fill(counts: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """class_fill for (I, C) and (I,)."""
    rising = np.sort(counts, axis=1)
    poured = np.cumsum(rising, axis=1, dtype=np.int64) + amounts[:, None]
    # The k lowest classes are under water if their level, poured/k, covers the k-th of them: as true for all k up to
    # some last one, and for all or none of equal classes.
    under = (poured >= rising * np.arange(1, counts.shape[1] + 1, dtype=np.int64)).sum(axis=1)[:, None]
    level, left_over = np.divmod(np.take_along_axis(poured, under - 1, axis=1), under)
    flooded = counts <= np.take_along_axis(rising, under - 1, axis=1)
    extra = np.cumsum(flooded, axis=1) <= left_over
    return np.where(flooded, level - counts + extra, 0)


def entropy(counts: np.ndarray) -> float:
    """Shannon entropy of class counts (C,) in nats; 0 for no samples."""
    total = counts.sum()
    if total == 0:
        return 0.0
    share = counts[counts > 0] / total
    return float(-(share * np.log(share)).sum())
