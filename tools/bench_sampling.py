"""How fast samples are drawn, beside diffusers' own pipeline with the same network: `python -m tools.bench_sampling`.

Stock is DDIMPipeline as it comes: 50 steps of DDIM in float32. It knows no classes, so the network it is given asks
itself twice, with the class and without, as a guided pipeline does. The ways take turns, a batch each a round; ratios
are of the medians of one run. The last column is the share of pixels that lie more than 2 of 255 levels away from those
of float32 (of DDIM: those of the stock pipeline), which the digest of a sample allows for. What fewer steps cost is no
matter of pixels: `fimi-server assess-generator --sweep solver=dpm++,ddim --sweep steps=20,50` tells their
worth. `--compile` adds ours under torch.compile, whose first batch, not counted, takes a minute.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler

from models.unet import UNetShape, build_unet
from server.endings import exit_code
from server.sources import ASSETS
from server.synth.checkpoint import read_checkpoint
from server.synth.diffusion import SCHEDULE, to_images
from server.synth.hardware import Hardware, placed
from server.synth.noise import noise_of
from server.synth.sampler import DiffusionGenerator
from server.synth.settings import NOISE_STEPS, Sampling

SHIPPED = ASSETS / "fashion-mnist" / "generator.safetensors"
STOCK_STEPS, STOCK = 50, "stock pipeline"


Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Classes (N,) and seeds (N,) -> images (N, H, W, C) uint8."""


@dataclass(frozen=True)
class Way:
    """A way to sample, and the name of the one whose images its own are compared with."""

    name: str
    draw: Draw
    exact: str


@dataclass(frozen=True)
class Found:
    """What a way took for its images (N, H, W, C) uint8."""

    spent_s: float
    images: np.ndarray


class Guided(torch.nn.Module):
    """The network as a pipeline without classes asks it: guidance inside."""

    def __init__(self, unet: Any, guidance: float) -> None:
        super().__init__()
        self.unet, self.config, self.dtype, self.device = unet, unet.config, unet.dtype, unet.device
        self.guidance = guidance
        self.classes = torch.zeros(0, dtype=torch.int64)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> SimpleNamespace:
        no_class = torch.full_like(self.classes, self.unet.config.num_class_embeds - 1)
        both = self.unet(torch.cat([x, x]), t, class_labels=torch.cat([self.classes, no_class])).sample
        with_class, without = both.chunk(2)
        return SimpleNamespace(sample=without + self.guidance * (with_class - without))


def stock(unet: Any, shape: UNetShape, guidance: float) -> Draw:
    """diffusers' own loop."""
    network = Guided(unet, guidance)
    scheduler = DDIMScheduler(NOISE_STEPS, timestep_spacing="trailing", clip_sample=False, **SCHEDULE)
    pipeline = DDIMPipeline(network, scheduler)
    pipeline.set_progress_bar_config(disable=True)

    def draw(classes: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        network.classes = torch.as_tensor(classes, device=unet.device)
        luck = [noise_of(int(seed)) for seed in seeds]
        shown = pipeline(len(seeds), luck, num_inference_steps=STOCK_STEPS, output_type="np").images  # in [0, 1]
        return to_images(torch.from_numpy(shown).permute(0, 3, 1, 2) * 2.0 - 1.0, shape.patch)

    return draw


def ways_of(path: Path, guidance: float, hardware: Hardware, *, compiled: bool = False) -> list[Way]:
    """Slowest first; with `compiled` one more."""
    weights, shape, _ = read_checkpoint(path)
    bare = build_unet(shape)
    bare.load_state_dict(weights)
    used = replace(hardware, compile=False)
    plain = replace(used, half=None, channels_last=False)

    def network() -> Any:
        return copy.deepcopy(bare).eval()

    def ours(sampling: Sampling, where: Hardware) -> Draw:
        return DiffusionGenerator(network(), shape, "", sampling, where).sample

    slow, fast = Sampling(STOCK_STEPS, guidance, "ddim"), Sampling(guidance=guidance)
    exact = f"{fast.name}, float32"
    ways = [
        Way(STOCK, stock(placed(network(), plain, torch.device(plain.device)), shape, guidance), STOCK),
        Way(f"{slow.name}, float32", ours(slow, plain), STOCK),
        Way(f"{slow.name}, as used", ours(slow, used), STOCK),
        Way(exact, ours(fast, plain), exact),
        Way(f"{fast.name}, as used", ours(fast, used), exact),
    ]
    if compiled:
        ways.append(Way(f"{fast.name}, compiled", ours(fast, replace(used, compile=True)), exact))
    return ways


def measured(ways: Sequence[Way], n_classes: int, samples: int, rounds: int) -> dict[str, Found]:
    """By the name of a way; the median of the rounds after a first one that warms up."""
    classes, seeds = np.arange(samples) % n_classes, np.arange(samples)
    spent: dict[str, list[float]] = {way.name: [] for way in ways}
    images: dict[str, np.ndarray] = {}
    for _ in range(rounds + 1):
        for way in ways:
            started = time.perf_counter()
            images[way.name] = way.draw(classes, seeds)
            spent[way.name].append(time.perf_counter() - started)
    return {name: Found(statistics.median(own[1:]), images[name]) for name, own in spent.items()}


def table(ways: Sequence[Way], found: Mapping[str, Found]) -> list[str]:
    """A row a way."""
    lines = ["| way | images/s | of stock | pixels beyond 2 levels |", "|---|---|---|---|"]
    for way in ways:
        own, exact = found[way.name], found[way.exact]
        far = (np.abs(own.images.astype(int) - exact.images) > 2).any(axis=-1).mean()
        pace, of_stock = len(own.images) / own.spent_s, found[STOCK].spent_s / own.spent_s
        lines.append(f"| {way.name} | {pace:.1f} | {of_stock:.2f} | {far:.3%} |")
    return lines


def main() -> int:
    """Command line; see the module. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generator", type=Path, nargs="?", default=SHIPPED, help="default: the shipped one")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--samples", type=int, default=100, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--guidance", type=float, default=Sampling.guidance)
    parser.add_argument("--compile", action="store_true", help="ours under torch.compile as well")
    return exit_code("bench_sampling", partial(bench, parser.parse_args()))


def bench(arguments: argparse.Namespace) -> None:
    """Measure and print the table."""
    hardware = Hardware.here(arguments.device)
    ways = ways_of(arguments.generator, arguments.guidance, hardware, compiled=arguments.compile)
    _, shape, _ = read_checkpoint(arguments.generator)
    print(f"{hardware.describe()}; {arguments.samples} samples a round, {arguments.rounds} rounds")
    print("\n".join(table(ways, measured(ways, shape.n_classes, arguments.samples, arguments.rounds))))


if __name__ == "__main__":
    sys.exit(main())
