"""Radios whose power is one of several levels: the one part of the problem that is not convex.

Each level alone is the problem of a fixed power. So at given prices every device is asked at every level, and the least
of its answers is below whatever it can do: weak duality holds as ever, and gives a bound for any set of levels that are
still allowed. With one level a device chosen the fleet is convex again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from server.plan.crowd import Crowd
from server.plan.dual import coupled_size_j
from server.plan.fleet import Fleet
from server.plan.price_search import ROUNDING
from server.plan.subset import subset
from server.plan.upload_step import medium_use


def at_power(fleet: Fleet, rows: np.ndarray, power_w: np.ndarray) -> Fleet:
    """The fleet with the devices `rows` at fixed powers (M,), and no levels any more."""
    links = fleet.links
    scheduled, fixed, power = links.scheduled.copy(), links.fixed_power.copy(), links.power_w.copy()
    scheduled[rows], fixed[rows], power[rows] = False, True, power_w
    return replace(fleet, links=replace(links, scheduled=scheduled, fixed_power=fixed, power_w=power, levels_w=None))


@dataclass(frozen=True)
class Asked:
    """Answers at prices [lambda, mu]: joules, loss and use of the medium of every leveled device at every level, each
    (M, L), and their sums over the other devices, with `slack_j` for rounding."""

    prices: np.ndarray
    joules: np.ndarray
    error: np.ndarray
    use: np.ndarray
    others_j: float
    others_error: float
    others_use: float
    slack_j: float

    def choice(self, allowed: np.ndarray) -> np.ndarray:
        """The level (M,) of least joules of every device, among those allowed (M, L)."""
        return np.where(allowed, self.joules, np.inf).argmin(axis=1)


class Ways:
    """A fleet that is asked at every level: `rows` (M,) of its leveled devices, `watts` (M, L), `real` (M, L)."""

    def __init__(self, fleet: Fleet):
        assert fleet.links.levels_w is not None
        self.fleet = fleet
        self.rows = np.flatnonzero(fleet.links.leveled)
        levels_w = fleet.links.levels_w[self.rows]
        self.real = np.isfinite(levels_w)
        self.watts = np.where(self.real, levels_w, fleet.links.power_w[self.rows, None])
        leveled = subset(fleet, self.rows, fleet.capacity)
        everyone = np.arange(len(self.rows))
        self._crowds = [Crowd(at_power(leveled, everyone, watts)) for watts in self.watts.T]
        rest = np.setdiff1d(np.arange(len(fleet)), self.rows)
        self._others = Crowd(subset(fleet, rest, fleet.capacity)) if len(rest) else None

    def fixed(self, choice: np.ndarray) -> Fleet:
        """The convex fleet in which every leveled device stays at its level of `choice` (M,)."""
        return at_power(self.fleet, self.rows, self.watts[np.arange(len(self.rows)), choice])

    def ask(self, prices: np.ndarray) -> Asked:
        """All answers at prices [lambda, mu] >= 0."""
        answers = [self._answers(crowd, prices) for crowd in self._crowds]
        joules, error, use = (np.stack(part, axis=1) for part in zip(*answers, strict=True))
        others = [np.zeros(1)] * 3 if self._others is None else self._answers(self._others, prices)
        size = float(np.abs(joules).min(axis=1).sum() + np.abs(others[0]).sum())
        coupled = coupled_size_j(self.fleet, float(prices[0]), float(prices[1]))
        others_j, others_error, others_use = (float(part.sum()) for part in others)
        slack_j = ROUNDING * (size + coupled)
        return Asked(prices, joules, error, use, others_j, others_error, others_use, slack_j)

    def bound(self, asked: Asked, allowed: np.ndarray) -> tuple[float, np.ndarray]:
        """(below the least joules with the levels allowed (M, L), how that changes with the prices (2,))."""
        fleet, choice = self.fleet, asked.choice(allowed)
        target = fleet.allowed_loss if fleet.target_error is not None else 0.0
        joules, error, use = (
            float(np.take_along_axis(part, choice[:, None], axis=1).sum())
            for part in (asked.joules, asked.error, asked.use)
        )
        total_j = asked.others_j + joules - asked.prices @ np.array([target, fleet.capacity]) - asked.slack_j
        mean = (asked.others_error + error) / len(fleet)
        return float(total_j), np.array([mean - target, asked.others_use + use - fleet.capacity])

    def _answers(self, crowd: Crowd, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(joules, error, use), each of the crowd's devices."""
        some = crowd.fleet
        share = len(some) / len(self.fleet)  # lambda is the price of the whole fleet's mean
        crowd.at(float(prices[0]) * share, float(prices[1]), 1e-12)
        step = crowd.answers()
        error = some.losses(step.points.samples) if prices[0] > 0 else np.zeros(len(some))
        return step.bound_j, error, medium_use(some, step.points.upload_s, step.points.bandwidth_hz)
