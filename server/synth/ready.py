"""A pool's samples as the measurements take them: the one place where the two meet."""

from __future__ import annotations

import numpy as np

from server.learning.made import Made
from server.synth.pool import Pool, sample_seed


def samples_of(pool: Pool) -> Made:
    """All that it holds."""
    facts = {
        "generator": pool.generator,
        "pool_base_seed": pool.base_seed,
        "pool_black_below": pool.black_below,
    }
    return Made.by_class(pool.images, facts)


def seeds_of(label: int, n: int, *, base_seed: int = 0) -> np.ndarray:
    """(n,) int64: the seeds of a pool's first samples of a class, so that an assessment looks at what a pool deals out."""
    return np.array([sample_seed(base_seed, label, number) for number in range(n)], dtype=np.int64)
