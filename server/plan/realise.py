"""From the continuous optimum to something a board can do: whole samples and clocks it has.

Each device keeps its upload as planned and gets the rest of the round for computing. Samples are rounded down and then
raised one at a time where a joule buys the most accuracy, until the mean error is within the target again: rounding up
and down across devices costs less than rounding everybody up. Time sharing between two clocks of the hull becomes two
segments, the fast one rounded up to a batch border so that the time is kept.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from models import energy
from server.plan.device_step import Points
from server.plan.diagnosis import PAD, NoPlanError
from server.plan.fleet import Fleet
from server.plan.problem import PlannedSegment

_SLACK = 1e-9  # of a sample: a count this close to a whole number is that number
_ROUNDING = 1e-12  # relative, of the target: what a mean may lose to rounding


@dataclass(frozen=True)
class Executed:
    """What one device is told to do: distinct samples, segments (trained samples, fastest first), seconds, joules."""

    samples: int
    segments: tuple[PlannedSegment, ...]
    compute_s: float
    compute_j: float


def realise(fleet: Fleet, points: Points, batch_size: int = 1) -> list[Executed]:
    """Executable shares of all devices, in order; raises `NoPlanError` where whole samples cannot keep the target."""
    boards = [_Board(fleet, i, fleet.round_s - float(points.upload_s[i])) for i in range(len(fleet))]
    samples = [int(count) for count in fleet.local]
    if fleet.target_error is not None:
        samples = _whole_samples(fleet, points, boards)
    return [board.run(count, batch_size) for board, count in zip(boards, samples, strict=True)]


class _Board:
    """One device with the seconds it has for computing."""

    def __init__(self, fleet: Fleet, index: int, available_s: float):
        self.epochs = fleet.epochs
        self.available_s = available_s
        self.fleet = fleet
        self.index = index
        self.table = _place(fleet.tables.rows, index)
        self.curve = _place(fleet.curves.rows, index)
        cap = available_s / (self.epochs * float(fleet.tau_min_s[index])) + _SLACK
        self.most = int(max(fleet.local[index], min(fleet.most[index], math.floor(cap))))

    def run(self, samples: int, batch_size: int = 1) -> Executed:
        """The cheapest way to train `samples` distinct samples `epochs` times within the time there is."""
        if samples == 0:
            return Executed(0, (), 0.0, 0.0)
        if self.curve is not None:
            return self._on_curve(samples, self.curve)
        assert self.table is not None
        return self._on_table(samples, batch_size, self.table)

    def _on_curve(self, samples: int, row: int) -> Executed:
        curves, trained = self.fleet.curves, self.epochs * samples
        fixed_s, cycles = float(curves.fixed_s[row]), float(curves.cycles[row])
        static_w, kappa = float(curves.power_static_w[row]), float(curves.kappa[row])
        spare_s = self.available_s / trained - fixed_s
        needed = cycles / spare_s if spare_s > 0 else math.inf
        cheapest = cycles / (float(self.fleet.tau_idle_s[self.index]) - fixed_s)
        freq = min(max(cheapest, needed), float(curves.freq_max_hz[row]))
        tau = fixed_s + cycles / freq
        joules = trained * tau * energy.busy_power_w(freq, static_w, kappa)
        return Executed(samples, (PlannedSegment(freq, trained),), trained * tau, joules)

    def _on_table(self, samples: int, batch_size: int, row: int) -> Executed:
        tables, trained = self.fleet.tables, self.epochs * samples
        tau = tables.tau_s[row]
        wanted = self.available_s / trained
        slow = int(np.searchsorted(tau, wanted, side="right"))
        if slow == len(tau):  # time enough for the cheapest clock
            return self._shares(samples, [(len(tau) - 1, trained)], row)
        if slow == 0:  # only a rounding error can ask for more than the highest clock
            return self._shares(samples, [(0, trained)], row)
        quick = slow - 1
        share = (trained * tau[slow] - self.available_s) / (tau[slow] - tau[quick])
        quick_samples = _to_border(math.ceil(share - _SLACK), samples, trained, batch_size)
        return self._shares(samples, [(quick, quick_samples), (slow, trained - quick_samples)], row)

    def _shares(self, samples: int, shares: list[tuple[int, int]], row: int) -> Executed:
        tables = self.fleet.tables
        kept = [(point, count) for point, count in shares if count > 0]
        return Executed(
            samples,
            tuple(PlannedSegment(float(tables.freq_hz[row, point]), count) for point, count in kept),
            float(sum(count * tables.tau_s[row, point] for point, count in kept)),
            float(sum(count * tables.joules[row, point] for point, count in kept)),
        )


def _place(rows: np.ndarray, index: int) -> int | None:
    """Where `index` stands in the ascending `rows`; None where it does not."""
    place = int(np.searchsorted(rows, index))
    return place if place < len(rows) and rows[place] == index else None


def _to_border(count: int, samples: int, trained: int, batch_size: int) -> int:
    """The first batch border at or after `count` trained samples; every epoch of `samples` starts a new batch."""
    epochs, rest = divmod(count, samples)
    batches = -(-rest // batch_size)
    return min(epochs * samples + min(batches * batch_size, samples), trained)


def _whole_samples(fleet: Fleet, points: Points, boards: list[_Board]) -> list[int]:
    """Integers near the planned samples with mean error within the target: greedy up from the floors, then trimmed."""
    target = fleet.target_error
    assert target is not None
    least = [int(count) for count in fleet.local]
    samples = [
        min(max(math.floor(float(wanted) + _SLACK), low), board.most)
        for wanted, low, board in zip(points.samples, least, boards, strict=True)
    ]
    prices = [(_price_up(fleet, boards[i], i, samples[i]), i) for i in range(len(fleet)) if samples[i] < boards[i].most]
    heapq.heapify(prices)
    while not _kept(fleet, samples):
        if not prices:
            nearest = fleet.mean_error(np.array(samples, dtype=float)) * (1 + PAD)
            raise NoPlanError(
                f"target_error {target:.6g} is out of reach in whole samples; the least target_error is {nearest:.7g}",
                "target_error",
                (),
                nearest,
            )
        _, i = heapq.heappop(prices)
        samples[i] += 1
        if samples[i] < boards[i].most:
            heapq.heappush(prices, (_price_up(fleet, boards[i], i, samples[i]), i))
    return _trim(fleet, boards, samples, least)


def _trim(fleet: Fleet, boards: list[_Board], samples: list[int], least: list[int]) -> list[int]:
    """Takes back single samples, the dearest first, as long as the target is kept."""
    savings = [
        (boards[i].run(samples[i] - 1).compute_j - boards[i].run(samples[i]).compute_j, i)
        for i in range(len(fleet))
        if samples[i] > max(least[i], 1)
    ]
    for _, i in sorted(savings):
        samples[i] -= 1
        if not _kept(fleet, samples):
            samples[i] += 1
    return samples


def _kept(fleet: Fleet, samples: list[int]) -> bool:
    assert fleet.target_error is not None
    return fleet.mean_error(np.array(samples, dtype=float)) <= fleet.target_error * (1 + _ROUNDING)


def _price_up(fleet: Fleet, board: _Board, index: int, samples: int) -> float:
    """Joules per unit of error of one more sample; a device without any comes first. Pooled: per effective sample."""
    if samples == 0 and fleet.local[index] == 0:
        return -math.inf
    joules = board.run(samples + 1).compute_j - board.run(samples).compute_j
    if fleet.pooled:
        return joules / fleet.eta
    curve, local = fleet.curve, float(fleet.local[index])
    now, then = (local + fleet.eta * (count - local) for count in (samples, samples + 1))
    return joules / (curve.alpha * (now**-curve.beta - then**-curve.beta))
