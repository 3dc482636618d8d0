"""What a generator is shown beyond its images: mirrored ones, and ones moved by a few pixels. Pure."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def augmented(images: torch.Tensor, draws: torch.Generator, *, mirror: bool, shift: int) -> torch.Tensor:
    """Images (N, H, W, C) uint8 -> the same shape; half of them mirrored, each moved by up to `shift` pixels.

    `draws`, on the images' device, decides for each image; what moves in repeats the edge.
    """
    n, height, width, _ = images.shape
    if mirror:
        flip = torch.rand(n, generator=draws, device=images.device) < 0.5
        images = torch.where(flip[:, None, None, None], images.flip(2), images)
    if shift:
        moves = torch.randint(0, 2 * shift + 1, (2, n), generator=draws, device=images.device)
        wide = F.pad(images.permute(0, 3, 1, 2).float(), (shift,) * 4, mode="replicate").permute(0, 2, 3, 1)
        rows = moves[0][:, None] + torch.arange(height, device=images.device)
        columns = moves[1][:, None] + torch.arange(width, device=images.device)
        which = torch.arange(n, device=images.device)
        images = wide[which[:, None, None], rows[:, :, None], columns[:, None, :]].to(torch.uint8)
    return images
