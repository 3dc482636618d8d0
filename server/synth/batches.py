"""The one loop that deals classes and seeds into batches, for every generator: asks for an early end between them, and
halves them where memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from server.errors import ResourceError
from server.resources import unless_out_of_memory
from server.synth.generator import Stop, Stopped, never

LOG = logging.getLogger(__name__)


class Batches:
    """Deals work into batches of `size`, which shrinks for good once memory has run out; the images stay the same to
    within rounding, as each sample's noise is its seed's alone."""

    def __init__(self, size: int, say: Callable[[str], None] = LOG.warning) -> None:
        """`say` is told, once, that batches are made smaller."""
        self.size = size
        self._say = say
        self._told = False

    def run(
        self,
        classes: np.ndarray,
        seeds: np.ndarray,
        image_shape: tuple[int, int, int],
        sample: Callable[[np.ndarray, np.ndarray], np.ndarray],
        stop: Stop = never,
    ) -> np.ndarray:
        """Classes (N,) and seeds (N,) -> images (N, *image_shape) uint8, a call of `sample` for each batch.

        Raises Stopped before a batch where `stop` asks for it, ResourceError where not even a single sample fits.
        """
        parts = [np.zeros((0, *image_shape), np.uint8)]
        done = 0
        while done < len(classes):
            if stop():
                raise Stopped
            part = slice(done, done + self.size)
            images = unless_out_of_memory(partial(sample, classes[part], seeds[part]))
            if images is None:
                self._shrink(len(classes[part]))
                continue
            parts.append(images)
            done += len(images)
        return np.concatenate(parts)

    def _shrink(self, failed: int) -> None:
        """Half of the batch that did not fit."""
        if failed == 1:
            raise ResourceError(
                "the generator does not fit into memory, not even with a single sample at a time: free memory, "
                "sample on another device (a CPU has the computer's memory), or choose a smaller generator"
            )
        self.size = failed // 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not self._told:
            self._told = True
            self._say(f"a batch of {failed} samples does not fit into memory: going on with batches of {self.size}")
