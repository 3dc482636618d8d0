"""What cannot be exported says which operation it is, and nothing is exported that would be wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from server.errors import ConfigError
from server.export.step import Options, export_module


class Of(nn.Module):
    """A convolution, then whatever is given; images (N, 2, 6, 6) -> logits (N, 3)."""

    def __init__(self, middle: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.middle = middle
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.conv(x)).mean(dim=(2, 3)))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(72, 72), nn.Linear(72, 72)
        self.second.weight = self.first.weight
        self.last = nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(x.flatten(1))))))


class WithConstant(Of):
    def __init__(self) -> None:
        super().__init__()
        self.k = torch.ones(1, 4, 6, 6)
        self.middle = lambda x: x + self.k


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Of(torch.sigmoid), "no rule for aten.sigmoid"),
        (Of(lambda x: functional.max_pool2d(x, 3, 1)), "pools whose windows overlap"),
        (Of(lambda x: x + x.mean(dim=(2, 3), keepdim=True)), "means other than over height and width"),
        (Of(lambda x: x + x[:, :1]), "no rule for aten"),
        (Of(lambda x: x + 1.0), "sums of other things than two activations"),
        (Of(nn.Conv2d(4, 4, 3, padding=2, dilation=2)), "convolutions with dilation, groups or padding by name"),
        (Of(nn.Conv2d(4, 4, 3, padding=1, groups=2)), "convolutions with dilation, groups or padding by name"),
        (nn.Sequential(nn.Conv2d(2, 3, 3)), "it gives no logits"),
        (Of(nn.BatchNorm2d(4)), "is no weight, and would not travel"),
        (WithConstant(), "is no weight, and would not travel"),
        (Tied(), "second.weight is another weight's second name|first.weight is another weight's second name"),
    ],
)
def test_it_is_named(module: nn.Module, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        export_module(module, (6, 6, 2), "step", Options())


class Broadcast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(72, 3), nn.Linear(72, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.wide(x) + self.narrow(x)


def test_sums_that_spread_are_refused() -> None:
    with pytest.raises(ConfigError, match="sums of activations of different shapes"):
        export_module(Broadcast(), (6, 6, 2), "step", Options())
