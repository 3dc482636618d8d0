"""A network of a few thousand weights: for tests, and for trying a fleet out before VGG-9 has to be waited for."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Tiny(nn.Module):
    """(N, C, H, W) float -> logits (N, n_classes): one 5x5 convolution of stride 2, one pool, one linear layer."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        height, width, channels = image_shape
        if min(height, width) < 4:
            raise ValueError(f"tiny needs images of 4x4 or more, not {height}x{width}")
        self.conv = nn.Conv2d(channels, 8, kernel_size=5, stride=2, padding=2)
        flat = 8 * ((height + 1) // 2 // 2) * ((width + 1) // 2 // 2)
        self.fc = nn.Linear(flat, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(functional.max_pool2d(functional.relu(self.conv(x)), 2).flatten(1))
        return logits
