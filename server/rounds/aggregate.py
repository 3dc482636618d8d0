"""Federated averaging: the global model moves by the mean of the devices' changes, weighted by their samples.

w <- w + sum_k n_k * delta_k / sum_k n_k (McMahan et al., arXiv 1602.05629, written in changes). Kept as one running sum
in float64: memory is that of one model however many devices there are, and the order in which updates come changes the
result by rounding of the double only - far below the float32 that the model is kept in.
"""

from __future__ import annotations

import numpy as np

from edge_client.protocol.errors import ProtocolError
from edge_client.protocol.weights import Weights, check_like


class WeightedMean:
    """The running mean of changes that fit `reference` (names and shapes; its values are not read)."""

    def __init__(self, reference: Weights) -> None:
        self._reference = reference
        self._sum = {name: np.zeros(array.shape, np.float64) for name, array in reference.items()}
        self._weight = 0.0
        self._updates = 0

    @property
    def weight(self) -> float:
        """Sum of the weights so far."""
        return self._weight

    @property
    def updates(self) -> int:
        return self._updates

    def add(self, change: Weights, weight: float) -> None:
        """Take one change with a weight > 0.

        Raises ProtocolError, and leaves the sum as it was, where it does not fit, is not finite or has no weight.
        """
        if not (np.isfinite(weight) and weight > 0):
            raise ProtocolError(f"an update of weight {weight} cannot be averaged; it must be positive")
        check_like(change, self._reference)
        for name, array in change.items():
            if not np.isfinite(array).all():
                raise ProtocolError(f"the change of {name!r} holds values that are not finite")
        for name, array in change.items():
            self._sum[name] += np.multiply(array, weight, dtype=np.float64)
        self._weight += weight
        self._updates += 1

    def moved(self, weights: Weights) -> Weights:
        """`weights` moved by the mean change, as float32; a copy of them where nothing was added."""
        check_like(weights, self._reference)
        if self._updates == 0:
            return {name: array.copy() for name, array in weights.items()}
        return {
            name: (array.astype(np.float64) + self._sum[name] / self._weight).astype(np.float32)
            for name, array in weights.items()
        }
