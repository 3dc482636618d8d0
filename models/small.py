"""A small convolutional network: a tenth of VGG-9's work for most of its accuracy. It judges, it is not deployed."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64, 64, 128)
STRIDES = (1, 2, 1, 2, 1)


class Small(nn.Module):
    """(N, C, H, W) float -> logits (N, n_classes): five 3x3 convolutions, a mean over the image, one linear layer."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        height, width, channels = image_shape
        if min(height, width) < 4:
            raise ValueError(f"small needs images of 4x4 or more, not {height}x{width}")
        convolutions = []
        for out, stride in zip(WIDTHS, STRIDES, strict=True):
            convolutions.append(nn.Conv2d(channels, out, kernel_size=3, stride=stride, padding=1))
            channels = out
        self.conv = nn.ModuleList(convolutions)
        self.fc = nn.Linear(channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.conv:
            x = functional.relu(layer(x))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits
