"""A generator without a network: every pixel says which class and seed was asked for."""

from __future__ import annotations

import numpy as np

from server.synth.generator import Stop, never


class FakeGenerator:
    """Implements `server.synth.generator.Generator` for 8x8x1; `asked` lists every (class, seed) in order."""

    def __init__(self, n_classes: int = 3, fail_after: int | None = None) -> None:
        self.n_classes = n_classes
        self.digest = "f" * 64
        self.asked: list[tuple[int, int]] = []
        self._fail_after = fail_after

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        if self._fail_after is not None and len(self.asked) >= self._fail_after:
            raise KeyboardInterrupt
        self.asked += list(zip(classes.tolist(), seeds.tolist(), strict=True))
        images = [np.random.default_rng((c, s)).integers(0, 256, (8, 8, 1), dtype=np.uint8) for c, s in
                  zip(classes, seeds, strict=True)]  # fmt: skip
        return np.stack(images) if images else np.zeros((0, 8, 8, 1), np.uint8)
