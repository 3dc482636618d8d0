"""The sampler around a network that is none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.unet import UNetShape
from server.synth.diffusion import DiffusionGenerator, Sampling
from server.synth.generator import Stopped

SHAPE = UNetShape(image_size=8, channels=1, n_classes=2, widths=(32, 32), layers=1)


class StillNet(torch.nn.Module):
    """Predicts nothing, and counts how often it was asked."""

    passes = 0

    def forward(self, x: torch.Tensor, _t: torch.Tensor, class_labels: torch.Tensor) -> SimpleNamespace:
        self.passes += 1
        return SimpleNamespace(sample=torch.zeros_like(x))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers, numpy 2
def test_sampling_ends_before_the_next_pass_of_the_network() -> None:
    net = StillNet()
    generator = DiffusionGenerator(net, SHAPE, "w", Sampling(steps=5, batch=2))  # type: ignore[arg-type]
    classes, seeds = np.array([0, 1, 0]), np.arange(3)
    assert generator.sample(classes, seeds).shape == (3, 8, 8, 1)
    assert net.passes == 10  # two batches of five steps
    with pytest.raises(Stopped):
        generator.sample(classes, seeds, stop=lambda: net.passes >= 13)
    assert net.passes == 13
