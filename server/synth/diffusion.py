"""A class-conditional diffusion model on pixels: v-prediction, cosine noise schedule, DPM-Solver++ sampling.

The parts are diffusers'; what is ours is the folding of 2x2 pixels into channels, the loss and one seed per sample.
Sources: v-prediction, Salimans and Ho arXiv 2202.00512; cosine schedule, Nichol and Dhariwal arXiv 2102.09672;
min-SNR weighting, Hang et al. arXiv 2303.09556; DPM-Solver++, Lu et al. arXiv 2211.01095.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel

from models.unet import UNetShape, build_unet
from server.errors import DataError
from server.synth.batches import Batches
from server.synth.checkpoint import read_checkpoint, write_checkpoint
from server.synth.generator import Stop, Stopped, never
from server.synth.hardware import Hardware, placed

NOISE_STEPS = 1000
MIN_SNR = 5.0


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn: solver `steps` (one network pass each, two with guidance), `guidance` >= 1, `batch`."""

    steps: int = 20
    guidance: float = 1.5
    batch: int = 100


def to_network(images: torch.Tensor, patch: int) -> torch.Tensor:
    """(N, H, W, C) uint8 -> (N, C * patch**2, H / patch, W / patch) float32 in [-1, 1]."""
    pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return F.pixel_unshuffle(pixels, patch)


def to_images(folded: torch.Tensor, patch: int) -> np.ndarray:
    """The inverse of `to_network`, clipped and rounded: -> (N, H, W, C) uint8."""
    pixels = F.pixel_shuffle(folded, patch).permute(0, 2, 3, 1)
    return ((pixels.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8).cpu().numpy()


def noise_schedule() -> DDPMScheduler:
    return DDPMScheduler(NOISE_STEPS, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")


@dataclass(frozen=True)
class Draws:
    """The luck of a training step, an entry a sample: the class that is shown (N,), level (N,) and noise as `clean`."""

    shown: torch.Tensor
    levels: torch.Tensor
    noise: torch.Tensor

    def piece(self, part: slice) -> Draws:
        return Draws(self.shown[part], self.levels[part], self.noise[part])


def draw(clean: torch.Tensor, classes: torch.Tensor, rng: torch.Generator, n_classes: int, drop: float = 0.1) -> Draws:
    """From `rng`, on the images' device: a share `drop` is shown without its class (as class `n_classes`), so that one
    network serves guidance with and without."""
    n, device = len(clean), clean.device
    dropped = torch.rand(n, generator=rng, device=device) < drop
    return Draws(
        shown=torch.where(dropped, torch.full_like(classes, n_classes), classes),
        levels=torch.randint(0, NOISE_STEPS, (n,), generator=rng, device=device),
        noise=torch.randn(clean.shape, generator=rng, device=device),
    )


def training_loss(unet: torch.nn.Module, schedule: DDPMScheduler, clean: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Mean weighted squared error of v; `clean` is `to_network`'s output.

    In terms of x0 the weight is min(SNR, 5); of v, that over SNR + 1.
    """
    noisy = schedule.add_noise(clean, draws.noise, draws.levels)
    target = schedule.get_velocity(clean, draws.noise, draws.levels)
    predicted = unet(noisy, draws.levels, class_labels=draws.shown).sample.float()
    alpha = schedule.alphas_cumprod.to(clean.device)[draws.levels]
    snr = alpha / (1.0 - alpha)
    weight = snr.clamp(max=MIN_SNR) / (snr + 1.0)
    return (weight * (predicted - target).square().mean(dim=(1, 2, 3))).mean()


class DiffusionGenerator:
    """Images from trained weights; implements `server.synth.generator.Generator`."""

    def __init__(
        self,
        unet: UNet2DModel,
        shape: UNetShape,
        weights_digest: str,
        sampling: Sampling,
        device: torch.device | str = "cpu",
    ) -> None:
        """`device`: where `unet` is."""
        self._unet = unet.eval()
        self._device = torch.device(device)
        self._shape = shape
        self._sampling = sampling
        self._batches = Batches(sampling.batch)
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

        `stop` is asked before each pass of the network. Batches are made smaller where memory runs out.
        """
        if len(classes) and not 0 <= classes.min() <= classes.max() < self.n_classes:
            raise DataError(f"classes run to {classes.max()}; this generator knows 0 to {self.n_classes - 1}")
        shape = (self._shape.image_size, self._shape.image_size, self._shape.channels)
        return self._batches.run(classes, seeds, shape, lambda own, some: self._batch(own, some, stop), stop)

    @torch.inference_mode()
    def _batch(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop) -> np.ndarray:
        side = self._shape.image_size // self._shape.patch
        one = (self._shape.channels * self._shape.patch**2, side, side)
        # noise is drawn on the CPU, so that a seed means the same image on any machine
        x = torch.stack([torch.randn(one, generator=torch.Generator().manual_seed(int(s))) for s in seeds])
        x = x.to(self._device)
        label = torch.as_tensor(classes, dtype=torch.int64, device=x.device)
        no_class = torch.full_like(label, self.n_classes)
        guidance = self._sampling.guidance
        solver = DPMSolverMultistepScheduler(
            NOISE_STEPS,
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            timestep_spacing="trailing",
            final_sigmas_type="zero",
        )
        solver.set_timesteps(self._sampling.steps)
        for t in solver.timesteps:
            if stop():
                raise Stopped
            if guidance == 1.0:
                v = self._unet(x, t, class_labels=label).sample
            else:
                both = self._unet(torch.cat([x, x]), t, class_labels=torch.cat([label, no_class])).sample
                with_class, without = both.chunk(2)
                v = without + guidance * (with_class - without)
            x = solver.step(v, t, x).prev_sample
        return to_images(x, self._shape.patch)


def save_checkpoint(path: Path, unet: UNet2DModel, shape: UNetShape) -> str:
    """Write the weights in half precision with the network's shape; returns the checkpoint's digest."""
    return write_checkpoint(path, unet.state_dict(), shape)


def load_generator(path: Path, sampling: Sampling, hardware: Hardware | None = None) -> DiffusionGenerator:
    """Read a checkpoint that `save_checkpoint` wrote; to run on the CPU unless told otherwise."""
    weights, shape, digest = read_checkpoint(path)
    unet = build_unet(shape)
    unet.load_state_dict(weights)
    hardware = hardware or Hardware.here("cpu")
    unet = placed(unet, hardware, torch.device(hardware.device))
    return DiffusionGenerator(unet, shape, digest, sampling, hardware.device)
