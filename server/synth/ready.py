"""A pool's samples as the measurements take them: the one place where the two meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.learning.made import Made
from server.synth.pool import Pool, load_pool, sample_seed


def samples_of(pool: Pool) -> Made:
    """All that it holds."""
    facts = {
        "generator": pool.generator,
        "pool_base_seed": pool.base_seed,
        "pool_black_below": pool.black_below,
    }
    return Made.by_class(pool.images, facts)


def seeds_of(label: int, n: int, *, base_seed: int = 0) -> np.ndarray:
    """(n,) int64: the seeds of a pool's first samples of a class: an assessment looks at what a pool deals out."""
    return np.array([sample_seed(base_seed, label, number) for number in range(n)], dtype=np.int64)


def ready_images(folder: Path, digest: str) -> dict[int, np.ndarray]:
    """What the pool at `folder` holds of the generator of that digest, by class (n, H, W, C), the seeds `seeds_of`."""
    pool = load_pool(folder) if (folder / "pool.json").exists() else None
    if pool is None or pool.generator != digest or pool.base_seed != 0:
        return {}
    return {label: images for label, images in enumerate(pool.images) if len(images)}


def black_below_of(folder: Path) -> int | None:
    """Below which level the pool at `folder` makes pixels 0; None where there is no pool."""
    return load_pool(folder).black_below if (folder / "pool.json").exists() else None
