"""Small pools on disk for tests: images of any kind as if a generator had made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from server.synth.store import Block, Kind, Store


def write_pool(root: Path, images: Sequence[np.ndarray], generator: str = "0" * 64) -> Kind:
    """A store of one block a class: images[c] (n, H, W, C) uint8, as many of each class."""
    height, width, channels = images[0].shape[1:]
    kind = Kind(generator, len(images), (height, width, channels), block=len(images[0]))
    for label, own in enumerate(images):
        Store(root).write(kind, Block(label, 0), own)
    return kind
