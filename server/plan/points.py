"""What every device does, and what the devices answer to prices: frozen values of arrays (n_devices,)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Points:
    """What every device does, arrays (I,): distinct samples, busy seconds, upload seconds, hertz (0: none granted)."""

    samples: np.ndarray
    compute_s: np.ndarray
    upload_s: np.ndarray
    bandwidth_hz: np.ndarray

    def blend(self, other: Points, weight: np.ndarray | float) -> Points:
        """(1 - weight) * self + weight * other: keeps every convex constraint that both keep."""
        return Points(
            _between(self.samples, other.samples, weight),
            _between(self.compute_s, other.compute_s, weight),
            _between(self.upload_s, other.upload_s, weight),
            _between(self.bandwidth_hz, other.bandwidth_hz, weight),
        )


def _between(a: np.ndarray, b: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    return np.where(weight == 0.0, a, np.where(weight == 1.0, b, a + weight * (b - a)))


@dataclass(frozen=True)
class Step:
    """The devices' answers (I,) to prices: `bound_j` is below every device's least priced cost, `price_s_w` is nu, the
    price of a second of its round."""

    price_error_j: float
    price_medium_j: float
    points: Points
    bound_j: np.ndarray
    price_s_w: np.ndarray
