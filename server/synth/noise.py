"""The noise of one sample, drawn on the CPU, so that a seed means the same image on any machine and in any batch."""

from __future__ import annotations

import hashlib

import torch

_LOW = (1 << 32) - 1


def noise_of(seed: int) -> torch.Generator:
    """A source of a sample's noise. All 63 bits of `seed` count: of what it is given, PyTorch's own reads 32.

    The upper bits are hashed onto the lower ones. Seeds that differ below 2**32 only, as those of one pool and 64
    classes do, never meet; any other two with a chance of 2**-32.
    """
    upper = seed >> 32
    mixed = int.from_bytes(hashlib.sha256(str(upper).encode()).digest()[:4], "big") if upper else 0
    return torch.Generator().manual_seed((seed & _LOW) ^ mixed)
