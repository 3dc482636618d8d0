"""What our diffusion model on pixels learns: v-prediction on a cosine noise schedule, with and without the class.

The parts are diffusers'; what is ours is the folding of 2x2 pixels into channels and the loss. `sampler` draws from it.
Sources: v-prediction, Salimans and Ho arXiv 2202.00512; cosine schedule, Nichol and Dhariwal arXiv 2102.09672;
min-SNR weighting, Hang et al. arXiv 2303.09556.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel

from models.unet import UNetShape
from server.synth.checkpoint import write_checkpoint
from server.synth.settings import NOISE_STEPS

SCHEDULE: dict[str, Any] = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
MIN_SNR = 5.0


def to_network(images: torch.Tensor, patch: int) -> torch.Tensor:
    """(N, H, W, C) uint8 -> (N, C * patch**2, H / patch, W / patch) float32 in [-1, 1]."""
    pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return F.pixel_unshuffle(pixels, patch)


def to_images(folded: torch.Tensor, patch: int) -> np.ndarray:
    """The inverse of `to_network`, clipped and rounded: -> (N, H, W, C) uint8."""
    pixels = F.pixel_shuffle(folded, patch).permute(0, 2, 3, 1)
    return ((pixels.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8).cpu().numpy()


def noise_schedule() -> DDPMScheduler:
    return DDPMScheduler(NOISE_STEPS, **SCHEDULE)


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


def save_checkpoint(path: Path, unet: UNet2DModel, shape: UNetShape) -> str:
    """Write the weights in half precision with the network's shape; returns the checkpoint's digest."""
    return write_checkpoint(path, unet.state_dict(), shape)
