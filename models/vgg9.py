"""VGG-9: six 3x3 convolutions with a max-pool after each pair, then three fully connected layers.

The network that federated-learning papers on constrained devices train. It has no normalisation layer, so it lives or
dies by its initialisation: see `models.networks.initial_weights`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = ((32, 64), (128, 128), (256, 256))
HIDDEN = 512


class Vgg9(nn.Module):
    """(N, C, H, W) float -> logits (N, n_classes); H and W at least 8. 3,491,530 weights for 32x32x3 and 10 classes.

    Each of the three pools halves the side, rounding down: 32 -> 4, 28 -> 3.
    """

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        height, width, channels = image_shape
        if min(height, width) < 8:
            raise ValueError(f"vgg9 halves an image three times: {height}x{width} is too small, 8x8 is the least")
        convolutions = []
        for pair in WIDTHS:
            for out in pair:
                convolutions.append(nn.Conv2d(channels, out, kernel_size=3, padding=1))
                channels = out
        self.conv = nn.ModuleList(convolutions)
        flat = channels * (height // 8) * (width // 8)
        self.fc = nn.ModuleList([nn.Linear(flat, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, n_classes)])

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.conv):
            x = functional.relu(layer(x))
            if index % 2 == 1:
                x = functional.max_pool2d(x, 2)
        x = x.flatten(1)
        for layer in self.fc[:-1]:
            x = functional.relu(layer(x))
        logits: Tensor = self.fc[-1](x)
        return logits
