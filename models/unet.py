"""The class-conditional U-Net of the generator: small enough for a CPU to train in hours and to sample in minutes.

Images are folded 2x2 into channels before the network and unfolded after it (pixel unshuffle): the convolutions then
run on a quarter of the positions, which on a CPU buys a wider network for the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import UNet2DModel

GROUPS = 16
"""Of channels that are normalised together."""


@dataclass(frozen=True)
class UNetShape:
    """What must be known to rebuild the network around saved weights.

    `image_size` (side in pixels, divisible by `patch` * 2**(len(widths) - 1)), `channels` (1 or 3), `n_classes`;
    `widths` are the channel counts per resolution (multiples of 16), `layers` the residual blocks of each.
    """

    image_size: int
    channels: int
    n_classes: int
    widths: tuple[int, ...] = (64, 96)
    layers: int = 1
    patch: int = 2

    def __post_init__(self) -> None:
        if not self.widths or any(width < GROUPS or width % GROUPS for width in self.widths):
            raise ValueError(f"widths {self.widths} are not multiples of {GROUPS}")
        step = self.patch * 2 ** (len(self.widths) - 1)
        if self.image_size % step:
            raise ValueError(f"image_size {self.image_size} is not divisible by {step} (patch times the halvings)")


def build_unet(shape: UNetShape) -> UNet2DModel:
    """The network: input (N, channels * patch**2, side, side) float32 with side = image_size / patch, same output.

    Class `n_classes` is the "no class" token of classifier-free guidance (Ho and Salimans, arXiv 2207.12598).
    """
    depth = len(shape.widths)
    folded = shape.channels * shape.patch**2
    return UNet2DModel(
        sample_size=shape.image_size // shape.patch,
        in_channels=folded,
        out_channels=folded,
        layers_per_block=shape.layers,
        block_out_channels=shape.widths,
        down_block_types=("DownBlock2D",) * (depth - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (depth - 1),
        norm_num_groups=GROUPS,
        attention_head_dim=32,
        num_class_embeds=shape.n_classes + 1,
    )
