"""Samples of our own model: a solver's few passes with classifier-free guidance, in half precision where that is safe.

Only what changes an image beyond rounding is in a generator's digest: weights, solver, steps and guidance. Batches and
precision follow the hardware: see `Hardware.half_below` for how far off half precision may be, and `python -m
tools.bench_sampling` for how far it is.
Sources: DPM-Solver++, Lu et al. arXiv 2211.01095; DDIM, Song et al. arXiv 2010.02502; classifier-free guidance, Ho and
Salimans arXiv 2207.12598.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UNet2DModel

from models.unet import UNetShape, build_unet
from server.errors import DataError
from server.synth.batches import Batches
from server.synth.checkpoint import check_finished, read_checkpoint
from server.synth.diffusion import SCHEDULE, to_images
from server.synth.generator import Stop, Stopped, never
from server.synth.hardware import Hardware, placed
from server.synth.noise import noise_of
from server.synth.settings import NOISE_STEPS, Sampling, Solver

LOG = logging.getLogger(__name__)

SCHEDULERS: dict[Solver, Callable[[], Any]] = {
    "dpm++": lambda: DPMSolverMultistepScheduler(
        NOISE_STEPS, timestep_spacing="trailing", final_sigmas_type="zero", **SCHEDULE
    ),
    "ddim": lambda: DDIMScheduler(NOISE_STEPS, timestep_spacing="trailing", clip_sample=False, **SCHEDULE),
}


class DiffusionGenerator:
    """Images from trained weights; implements `server.synth.generator.Generator`."""

    def __init__(
        self,
        unet: UNet2DModel,
        shape: UNetShape,
        weights_digest: str,
        sampling: Sampling,
        hardware: Hardware,
    ) -> None:
        """`hardware`: where `unet` goes with the first sample, not before: a digest alone needs no GPU's memory."""
        self._hardware = hardware
        self._unet = unet.eval()
        self._network: Any = None
        self._shape = shape
        self._sampling = sampling
        self._batches = Batches(self._hardware.samples_at_once)
        self._half = self._hardware.half
        self.weights_digest = weights_digest
        settings = json.dumps([weights_digest, asdict(sampling)], sort_keys=True)
        self._digest = hashlib.sha256(settings.encode()).hexdigest()

    @property
    def digest(self) -> str:
        return self._digest

    @property
    def n_classes(self) -> int:
        return self._shape.n_classes

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        """Classes (N,) and seeds (N,) int64 -> images (N, H, W, C) uint8; each seed draws its own start noise.

        `stop` is asked before each pass of the network. Batches are made smaller where memory runs out; weights that
        overflow in half precision go on in float32. Raises DataError where they give no numbers in that either.
        """
        if len(classes) and not 0 <= classes.min() <= classes.max() < self.n_classes:
            raise DataError(f"classes run to {classes.max()}; this generator knows 0 to {self.n_classes - 1}")
        shape = (self._shape.image_size, self._shape.image_size, self._shape.channels)
        return self._batches.run(classes, seeds, shape, lambda own, some: self._batch(own, some, stop), stop)

    def _batch(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop) -> np.ndarray:
        folded = self._folded(classes, seeds, stop)
        if self._half is not None and not bool(torch.isfinite(folded).all()):
            LOG.warning("the generator's weights overflow in half precision: going on in float32")
            self._half = None
            folded = self._folded(classes, seeds, stop)
        if not bool(torch.isfinite(folded).all()):
            raise DataError("the generator gives pixels that are not numbers: its weights are broken, train it anew")
        return to_images(folded, self._shape.patch)

    @torch.inference_mode()
    def _folded(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop) -> torch.Tensor:
        """(N, C * patch**2, H / patch, W / patch) float32."""
        if self._network is None:
            device = torch.device(self._hardware.device)
            self._network = self._hardware.compiled(placed(self._unet, self._hardware, device))
        side = self._shape.image_size // self._shape.patch
        one = (self._shape.channels * self._shape.patch**2, side, side)
        x = torch.stack([torch.randn(one, generator=noise_of(int(seed))) for seed in seeds])
        x = x.to(self._hardware.device)
        label = torch.as_tensor(classes, dtype=torch.int64, device=x.device)
        solver = SCHEDULERS[self._sampling.solver]()
        solver.set_timesteps(self._sampling.steps)
        for t in solver.timesteps:
            if stop():
                raise Stopped
            x = solver.step(self._v(x, t, label), t, x).prev_sample
        return x

    def _v(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """What the network predicts, guided: v as `x`, float32."""
        guidance = self._sampling.guidance
        halved = self._half is not None and int(t) < self._hardware.half_below
        with torch.autocast(x.device.type, self._half, enabled=halved):
            if guidance == 1.0:
                return self._network(x, t, class_labels=label).sample.float()
            no_class = torch.full_like(label, self.n_classes)
            both = self._network(torch.cat([x, x]), t, class_labels=torch.cat([label, no_class])).sample.float()
        with_class, without = both.chunk(2)
        return without + guidance * (with_class - without)


def load_generator(path: Path, sampling: Sampling, hardware: Hardware | None = None) -> DiffusionGenerator:
    """Read a checkpoint that `save_checkpoint` wrote; to run on the CPU unless told otherwise.

    Raises DataError where it is missing, broken, or of a training that has not ended.
    """
    check_finished(path)
    weights, shape, digest = read_checkpoint(path)
    unet = build_unet(shape)
    try:
        unet.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"{path} holds other weights than its network has: {error}") from error
    return DiffusionGenerator(unet, shape, digest, sampling, hardware or Hardware.here("cpu"))
