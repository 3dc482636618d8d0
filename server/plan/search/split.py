"""Time splits: how the seconds of a round are cut into those for the upload and those for computing.

A split is a number in [0, 1] for each device whose upload may take shorter or longer: where on a logarithmic scale the
upload's deadline lies between the fastest upload and what local samples at the highest clock leave of the round;
computing gets the rest. Both are deadlines: what is cheaper done sooner ends sooner, so that t + s < T is among the
answers of every split. The scale is logarithmic because hertz and joules of an upload go with powers of its seconds:
on a linear one the same spread is nothing for one device and the whole band for another.
"""

from __future__ import annotations

import numpy as np

from server.plan.fleet import Fleet
from server.plan.search.band_step import BandStep

_LEAST_SAMPLES = 1e-3  # that any device must have time for: without any its error is infinite


class Splits:
    """From splits (P, F) of the `free` (F,) devices to seconds (P, I), and back."""

    def __init__(self, fleet: Fleet, band: BandStep):
        self.shortest_s = band.fastest_s()
        left_s = fleet.round_s - fleet.epochs * np.maximum(fleet.local, _LEAST_SAMPLES) * fleet.tau_min_s
        self.longest_s = np.where(fleet.links.wired, self.shortest_s, np.maximum(left_s, self.shortest_s))
        self.free = np.flatnonzero(self.longest_s > self.shortest_s)
        self._span = np.log(self.longest_s[self.free] / self.shortest_s[self.free])

    def upload_s(self, splits: np.ndarray) -> np.ndarray:
        """Deadlines (P, I) of the uploads."""
        seconds = np.repeat(self.shortest_s[None, :], len(splits), axis=0)
        seconds[:, self.free] *= np.exp(np.clip(splits, 0.0, 1.0) * self._span)
        return np.minimum(seconds, self.longest_s)

    def of(self, upload_s: np.ndarray) -> np.ndarray:
        """Splits (..., F) of deadlines (..., I)."""
        return np.clip(np.log(upload_s[..., self.free] / self.shortest_s[self.free]) / self._span, 0.0, 1.0)

    def slopes(self, watts: np.ndarray, upload_s: np.ndarray) -> np.ndarray:
        """Joules a unit of split (P, F) where a second of the deadlines (P, I) costs `watts` (P, I)."""
        return watts[:, self.free] * upload_s[:, self.free] * self._span
