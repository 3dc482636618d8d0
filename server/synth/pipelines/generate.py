"""A pipeline of diffusers as a generator: one noise a sample, whatever batch it is in."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from server.errors import DataError
from server.synth.batches import Batches
from server.synth.generator import Stop, Stopped, never
from server.synth.noise import noise_of
from server.synth.pipelines.conditions import Conditions
from server.synth.pipelines.images import check_images, to_data_set


class PipelineGenerator:
    """Implements `server.synth.generator.Generator`; the pipeline is loaded for the first sample, not before."""

    def __init__(
        self,
        name: str,
        weights_digest: str,
        load: Callable[[], Any],
        conditions: Conditions,
        settings: dict[str, Any],
        image_shape: tuple[int, int, int],
        batches: Batches,
    ) -> None:
        """`settings` are the same for all samples: steps and guidance, by the names of the pipeline's arguments.

        The digest names weights, prompts or labels, settings and the images' shape; not the machine, on which images
        of one digest differ by the rounding of its precision.
        """
        self.name = name
        self._load = functools.cache(load)
        self._conditions = conditions
        self._settings = settings
        self._image_shape = image_shape
        self._batches = batches
        asked = [weights_digest, conditions.name, conditions.options, conditions.also, settings, image_shape]
        self._digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @property
    def digest(self) -> str:
        return self._digest

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        """Classes (N,) and seeds (N,) int64 -> images (N, H, W, C) uint8; `stop` is asked before each step.

        Raises Stopped, and DataError for classes that are not there, a pipeline that cannot be loaded, or images that
        are no images.
        """
        n_classes = len(self._conditions.options)
        if len(classes) and not 0 <= classes.min() <= classes.max() < n_classes:
            raise DataError(f"classes run to {classes.max()}; {self.name} was given {n_classes}")

        def batch(some: np.ndarray, own: np.ndarray) -> np.ndarray:
            return self._batch(some, own, stop)

        return self._batches.run(classes, seeds, self._image_shape, batch, stop)

    def _batch(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop) -> np.ndarray:
        pipeline = self._load()
        noise = [noise_of(int(seed)) for seed in seeds]
        asked = {**self._conditions.arguments(classes, seeds), **self._settings}
        if "batch_size" in inspect.signature(pipeline.__call__).parameters:
            asked["batch_size"] = len(classes)
        with _each_step(pipeline.scheduler, noise, stop):
            pixels = pipeline(**asked, generator=noise, output_type="pt").images
        check_images(pixels, self.name)
        return to_data_set(pixels, self._image_shape)


@contextmanager
def _each_step(scheduler: Any, noise: list[torch.Generator], stop: Stop) -> Iterator[None]:
    """Asks `stop` before every step, and hands it the samples' own noise.

    Where the pipelines have callbacks they are called in the same place; but the class-conditional ones have none, and
    leave a scheduler that draws noise at each step to the process's own.
    """
    step = scheduler.step
    draws = "generator" in inspect.signature(step).parameters

    @functools.wraps(step)  # pipelines look into its signature
    def own(*values: Any, **named: Any) -> Any:
        if stop():
            raise Stopped
        if draws and named.get("generator") is None:
            output = values[0] if values else named["model_output"]
            named["generator"] = noise * (len(output) // len(noise))  # guidance may step every sample twice
        return step(*values, **named)

    scheduler.step = own
    try:
        yield
    finally:
        del scheduler.step
