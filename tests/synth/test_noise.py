"""The noise of a sample, by real sources of it."""

from __future__ import annotations

import numpy as np
import torch

from server.synth.noise import noise_of
from server.synth.selection import seed_of_attempt
from server.synth.store import sample_seed


def drawn(seed: int) -> bytes:
    return torch.randn(8, generator=noise_of(seed)).numpy().tobytes()


def test_every_part_of_a_samples_seed_changes_its_noise() -> None:
    """PyTorch's generator itself reads 32 bits of a seed: base seeds, and classes 64 apart, would share their noise."""
    seeds = [sample_seed(base, label, k) for base in (0, 1, 5, 2**21) for label in (0, 1, 64, 128) for k in (0, 1, 999)]
    seeds += [seed_of_attempt(seed, attempt) for seed in seeds for attempt in (1, 7)]
    assert len({drawn(seed) for seed in seeds}) == len(seeds) == 144
    assert torch.equal(  # what this is there for
        torch.randn(8, generator=torch.Generator().manual_seed(5)),
        torch.randn(8, generator=torch.Generator().manual_seed(5 + 2**42)),
    )


def test_a_seed_below_32_bits_is_pytorchs_own() -> None:
    """That of the pool that ships, and of every pool of base seed 0 with up to 64 classes."""
    for seed in (0, 1, 9 * 2**26 + 1199, 2**32 - 1):
        assert drawn(seed) == torch.randn(8, generator=torch.Generator().manual_seed(seed)).numpy().tobytes()


def test_seeds_of_one_pool_never_meet() -> None:
    """Of one base seed, over the parts that differ below 2**32: the mixing only turns bits, the same for all."""
    seeds = [sample_seed(7, label, k) for label in (0, 3, 63) for k in range(2000)]
    assert len({drawn(seed) for seed in seeds}) == 6000
    assert len(np.unique([noise_of(seed).initial_seed() for seed in seeds])) == 6000
