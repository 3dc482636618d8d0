"""What a time split costs: both sub-problems at once, for a whole generation of candidates.

The set of splits that can be kept is convex (least use of the medium and least error are convex in the seconds), and
`start` lies inside. A candidate outside is therefore *repaired*: moved towards the start just until it can be kept. A
penalty would rank such candidates but learn no joules from them, and in a hundred dimensions nearly all first
candidates lie outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.plan.device_step import Points
from server.plan.fleet import Fleet
from server.plan.search.band_step import BandStep
from server.plan.search.data_step import DataStep
from server.plan.search.multiplier import SLACK
from server.plan.search.split import Splits
from server.plan.search.start import spacious

_HALVINGS = 20  # of the way to the start


@dataclass(frozen=True)
class Judged:
    """splits (P, F) as they were costed, joules (P,), and which (P,) had to be repaired; slopes (P, F) where asked."""

    splits: np.ndarray
    joules: np.ndarray
    repaired: np.ndarray
    slopes: np.ndarray | None = None


class Judge:
    """Costs splits of one fleet and counts how many; raises `NoPlanError` where no split can be kept."""

    def __init__(self, fleet: Fleet):
        self.fleet = fleet
        self.data, self.band = DataStep(fleet), BandStep(fleet)
        self.splits = Splits(fleet, self.band)
        self._start_s = spacious(fleet, self.splits, self.data, self.band)
        self.start = self.splits.of(self._start_s)
        self.evaluations = self.infeasible = 0

    @property
    def dimensions(self) -> int:
        return len(self.splits.free)

    def __call__(self, splits: np.ndarray, *, slopes: bool = False) -> Judged:
        """Costs of splits (P, F), those outside what can be kept being repaired first."""
        upload_s = self.splits.upload_s(splits)
        outside = ~self.keeps(upload_s)
        if outside.any():
            upload_s[outside] = self._repair(upload_s[outside])
        self.evaluations += len(splits)
        self.infeasible += int(outside.sum())
        compute_s = self.fleet.round_s - upload_s
        data, band = self.data.solve(compute_s), self.band.solve(upload_s)
        joules = data.joules.sum(axis=1) + band.joules.sum(axis=1)
        slope = None
        if slopes:
            watts = self.band.slopes(band, upload_s) - self.data.slopes(data, compute_s)
            slope = self.splits.slopes(watts, upload_s)
        return Judged(self.splits.of(upload_s), np.where(data.reached & band.reached, joules, np.inf), outside, slope)

    def keeps(self, upload_s: np.ndarray) -> np.ndarray:
        """Whether the upload deadlines (P, I) leave enough of the medium and of the samples, (P,)."""
        error = self.data.log_error(self.data.most_samples(self.fleet.round_s - upload_s))
        return (error <= SLACK) & (self.band.log_use(self.band.least_use(upload_s)) <= SLACK)

    def points(self, split: np.ndarray) -> tuple[Points, float]:
        """What every device does at a split (F,) that can be kept, and the joules of all."""
        fleet, upload_s = self.fleet, self.splits.upload_s(split[None, :])
        data, band = self.data.solve(fleet.round_s - upload_s), self.band.solve(upload_s)
        trained = fleet.epochs * data.samples[0]
        compute_s = np.clip(fleet.round_s - upload_s[0], trained * fleet.tau_min_s, trained * fleet.tau_idle_s)
        granted = np.where(fleet.links.banded, band.use[0], 0.0)
        points = Points(data.samples[0].copy(), compute_s, band.upload_s[0], granted)
        return points, float(data.joules.sum() + band.joules.sum())

    def _repair(self, upload_s: np.ndarray) -> np.ndarray:
        """(N, I) moved towards the start as little as will do, by halving."""
        low, high = np.zeros((len(upload_s), 1)), np.ones((len(upload_s), 1))
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            kept = self.keeps(upload_s + middle * (self._start_s - upload_s))[:, None]
            low, high = np.where(kept, low, middle), np.where(kept, middle, high)
        return upload_s + high * (self._start_s - upload_s)
