"""From what a pipeline gives to images of the data set: checked, cropped to their shape, made smaller, made grey."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from server.errors import DataError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as everybody who makes grey images does


def check_images(pixels: torch.Tensor, pipeline: str) -> None:
    """(N, C, H, W) in [0, 1]; raises DataError where one is not finite, or black all over as broken numbers end up."""
    if not bool(torch.isfinite(pixels).all()):
        broken = "hold numbers that are not finite"
    elif bool((pixels.amax(dim=(1, 2, 3)) <= 0).any()):
        broken = "come out all black"
    else:
        return
    half = pixels.dtype in (torch.float16, torch.bfloat16)
    remedy = (
        "its numbers do not fit half precision: sample on a CPU, or use a VAE that was made for it"
        if half
        else "its weights do not go with its settings: fetch or save it again"
    )
    raise DataError(f"images of {pipeline} {broken}: {remedy}")


def to_data_set(pixels: torch.Tensor, image_shape: tuple[int, int, int]) -> np.ndarray:
    """(N, C, H, W) in [0, 1] -> (N, *image_shape) uint8: the middle of its shape, by antialiased bicubic filtering."""
    height, width, channels = image_shape
    pixels = _channels(pixels.float(), channels)
    high, wide = pixels.shape[2:]
    keep_high, keep_wide = min(high, round(wide * height / width)), min(wide, round(high * width / height))
    top, left = (high - keep_high) // 2, (wide - keep_wide) // 2
    pixels = pixels[:, :, top : top + keep_high, left : left + keep_wide]
    pixels = F.interpolate(pixels, size=(height, width), mode="bicubic", align_corners=False, antialias=True)
    return (pixels.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _channels(pixels: torch.Tensor, channels: int) -> torch.Tensor:
    if pixels.shape[1] == channels:
        return pixels
    if pixels.shape[1] == 3 and channels == 1:
        weights = torch.tensor(LUMA, device=pixels.device).reshape(1, 3, 1, 1)
        return (pixels * weights).sum(dim=1, keepdim=True)
    if pixels.shape[1] == 1:
        return pixels.expand(-1, channels, -1, -1)
    raise DataError(
        f"the pipeline's images have {pixels.shape[1]} channels, the data {channels}; choose one for images"
    )
