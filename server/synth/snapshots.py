"""What a generator can do so far, as a picture that grows better while it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from diffusers import UNet2DModel

from models.unet import UNetShape
from server.data.tiles import tile
from server.synth.hardware import Hardware
from server.synth.mosaic import write_png
from server.synth.sampler import DiffusionGenerator
from server.synth.settings import Sampling

PER_CLASS = 6
MOST_CLASSES = 12


def write_snapshot(path: Path, shape: UNetShape) -> Callable[[UNet2DModel, int], None]:
    """A function of (network, step) that draws a row of samples a class, always of the same seeds, into `path`."""
    classes = np.repeat(np.arange(min(shape.n_classes, MOST_CLASSES)), PER_CLASS)
    seeds = np.arange(len(classes), dtype=np.int64)

    def show(network: UNet2DModel, step: int) -> None:
        place = Hardware.here(network.device.type, compile=False)
        generator = DiffusionGenerator(network, shape, f"step {step}", Sampling(), place)
        write_png(path, tile(generator.sample(classes, seeds), PER_CLASS))

    return show
