"""Activations as rows: (rows, batch, channels), a row for each pixel, in whatever order is at hand.

To bring pixels into another order, or to see each several times, is then to copy whole rows by their numbers, and an
operation that would only do that leaves it to the next one. Some rows may hold no pixel; what flows back to them is
zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.export.graph import Graph, Tensor


@dataclass(frozen=True)
class Rows:
    """`tensor` (R, batch, C); `row` (H, W): which row holds a pixel."""

    tensor: Tensor
    row: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.row.shape[0], self.row.shape[1]

    @property
    def channels(self) -> int:
        return self.tensor.shape[2]

    @property
    def n_rows(self) -> int:
        return self.tensor.shape[0]


@dataclass(frozen=True)
class Flat:
    """`tensor` (batch, features)."""

    tensor: Tensor


def in_order(graph: Graph, tensor: Tensor, row: np.ndarray, like: Rows) -> Tensor:
    """Rows of which row[y, x] holds a pixel, brought into the order of `like`, zero where that holds no pixel."""
    n = tensor.shape[0]
    numbers = np.full(like.n_rows, n)
    numbers[like.row.ravel()] = row.ravel()
    if np.array_equal(numbers, np.arange(n)):
        return tensor
    return picked(graph, tensor, numbers)


def picked(graph: Graph, tensor: Tensor, numbers: np.ndarray) -> Tensor:
    """Rows by their numbers; the number after the last one is a row of zeros."""
    if (numbers == tensor.shape[0]).any():
        tensor = graph.with_zero_row(tensor)
    return graph.gather(tensor, numbers)
