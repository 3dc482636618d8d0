"""A pool's samples as the measurements take them: the one place where the two meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.errors import DataError
from server.learning.made import Made
from server.synth.pool import Pool, read_pool
from server.synth.store import Store, sample_seed


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


def ready_images(folder: Path, digest: str, black_below: int) -> dict[int, np.ndarray]:
    """What the pool at `folder` holds of the generator of that digest, by class (n, H, W, C), the seeds `seeds_of`.

    Of several kinds the fullest one. None that is darker than `black_below` makes it: what it lost is not to be had.
    """
    store = Store(folder)
    kinds = [kind for kind in store.kinds() if (kind.generator, kind.base_seed) == (digest, 0)]
    kinds = [kind for kind in kinds if kind.black_below <= black_below]
    if not kinds:
        return {}
    pool = read_pool(store, max(kinds, key=lambda kind: int(store.counts(kind).sum())))
    return {label: images for label, images in enumerate(pool.images) if len(images)}


def black_below_of(pool: Store, choose_by: str) -> int | None:
    """Below which level samples of a pool are 0; None without any, a DataError (choose_by: where) for several."""
    found = {kind.black_below for kind in pool.kinds()}
    if len(found) > 1:
        raise DataError(f"the pool at {pool.root} has samples with black_below {sorted(found)}: set {choose_by}")
    return found.pop() if found else None
