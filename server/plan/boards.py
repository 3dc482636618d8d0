"""What whole samples cost on boards with real clocks, and how they are shared out to two clocks. For many at once.

Whole batches: a board changes its clock only at the end of a batch. Every epoch begins with a new batch and its last
one is as short as it comes out, so a device may train any whole number of samples. Of two neighbours on its hull the
quicker clock gets as little as the time allows: it comes first and stops at the end of a batch, or it comes last and
starts at one, whichever leaves less on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import energy, learning_curve
from server.plan.columnar import starts
from server.plan.fleet import Fleet
from server.plan.problem import Executed, Segments

_SLACK = 1e-9  # of a sample: a count this close to a whole number is that number
_AROUND = np.arange(-2, 4)  # samples, or batches, from where the continuous plan is
_AFAR = np.concatenate([-(4 ** np.arange(15, 0, -1)), 4 ** np.arange(1, 16)])  # samples from there, up to any number


@dataclass(frozen=True)
class Split:
    """Trained samples (M, W) on two points of a device's hull: `quick_samples` on `quick`, the rest on `slow`."""

    quick: np.ndarray
    slow: np.ndarray
    quick_samples: np.ndarray
    slow_first: np.ndarray


class Boards:
    """The devices of a fleet with the seconds that they have for computing; `least` to `most` (I,) samples each."""

    def __init__(self, fleet: Fleet, upload_s: np.ndarray, batch_size: int):
        self.fleet, self.batch = fleet, batch_size
        self.available_s = fleet.round_s - upload_s
        cap = np.floor(self.available_s / (fleet.epochs * fleet.tau_min_s) + _SLACK)
        self.most = np.maximum(np.minimum(fleet.most, cap), fleet.local).astype(np.int64)
        alone = fleet.target_error is not None and not fleet.pooled
        first = 1.0 if alone else 0.0  # who has no data, and is judged alone, needs some to have an error
        self.least = np.minimum(np.maximum(fleet.local, first), self.most).astype(np.int64)
        self._table = _places(fleet.tables.rows, len(fleet))
        self._curve = _places(fleet.curves.rows, len(fleet))
        self.tabled = self._table >= 0

    def losses(self, rows: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """What the devices `rows` (M,) add to the priced loss with `samples` (M, W): see `Fleet.losses`."""
        worth = learning_curve.effective_samples(self.fleet.local[rows, None], samples, self.fleet.eta)
        return self.fleet.loss_of(worth)

    def joules(self, rows: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """E_cmp (M, W) of the devices `rows` (M,) for whole `samples` (M, W), trained as cheaply as time allows."""
        cost = np.empty(samples.shape)
        tabled = self.tabled[rows]
        if tabled.any():
            split = self.split(rows[tabled], samples[tabled])
            quick_j, slow_j = self.at_points(rows[tabled], self.fleet.tables.joules, split.quick, split.slow)
            cost[tabled] = self.fleet.epochs * samples[tabled] * slow_j + split.quick_samples * (quick_j - slow_j)
        if not tabled.all():
            _, seconds, watts = self._run_curve(rows[~tabled], samples[~tabled])
            cost[~tabled] = seconds * watts
        return cost

    def near(self, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Whole samples (M, W) worth a look for devices `rows` (M,) that would train `wanted` (M,) in the continuum:
        those around it, and those that fill the time when the clock changes at a border of batches."""
        base = np.floor(wanted + _SLACK)[:, None]
        found = np.concatenate([base + _AROUND, np.repeat(base, 2 * len(_AROUND), axis=1)], axis=1)
        tabled = self.tabled[rows]
        found[tabled, len(_AROUND) :] = self._filling(rows[tabled], np.maximum(wanted[tabled], 1.0))
        return self._possible(rows, found)

    def far(self, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Whole samples (M, W) ever farther from `wanted` (M,), to the least and the most that devices can train."""
        return self._possible(rows, np.floor(wanted + _SLACK)[:, None] + _AFAR)

    def _possible(self, rows: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return np.clip(samples, self.least[rows, None], self.most[rows, None]).astype(np.int64)

    def executed(self, samples: np.ndarray) -> Executed:
        """What all devices are told to do, for whole samples (I,)."""
        fleet, trained = self.fleet, self.fleet.epochs * samples
        freq, amount = np.zeros((len(fleet), 2)), np.zeros((len(fleet), 2), dtype=np.int64)
        seconds, joules = np.zeros(len(fleet)), np.zeros(len(fleet))
        rows, tables = fleet.tables.rows, fleet.tables
        if len(rows):
            split = self.split(rows, samples[rows, None])
            points = np.concatenate([split.quick, split.slow], axis=1)
            told = np.concatenate([split.quick_samples, trained[rows, None] - split.quick_samples], axis=1)
            seconds[rows] = (told * np.take_along_axis(tables.tau_s, points, axis=1)).sum(axis=1)
            joules[rows] = (told * np.take_along_axis(tables.joules, points, axis=1)).sum(axis=1)
            clocks = np.take_along_axis(tables.freq_hz, points, axis=1)
            freq[rows] = np.where(split.slow_first, clocks[:, ::-1], clocks)
            amount[rows] = np.where(split.slow_first, told[:, ::-1], told)
        rows = fleet.curves.rows
        if len(rows):
            clock, busy_s, watts = self._run_curve(rows, samples[rows, None])
            freq[rows, 0], amount[rows, 0] = clock[:, 0], trained[rows]
            seconds[rows], joules[rows] = busy_s[:, 0], (busy_s * watts)[:, 0]
        kept = amount > 0
        return Executed(samples, Segments(starts(kept.sum(axis=1)), freq[kept], amount[kept]), seconds, joules)

    def at_points(self, rows: np.ndarray, column: np.ndarray, *points: np.ndarray) -> tuple[np.ndarray, ...]:
        """A column of the tables of devices `rows` (M,), each (M, W), at some of their points (M, W)."""
        own = column[self._table[rows]]
        return tuple(np.take_along_axis(own, point, axis=1) for point in points)

    # ---- measured tables -----------------------------------------------------------------------------------------

    def pair(self, rows: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, ...]:
        """(quick, slow, tau_quick, tau_slow), each (M, W): neighbours on the hulls between which the time is used up;
        the same point twice where one alone will do."""
        tau = self.fleet.tables.tau_s[self._table[rows]]
        wanted = self.available_s[rows, None] / np.maximum(trained, 1)
        slow = (tau[:, None, :] <= wanted[:, :, None]).sum(axis=2)
        last = tau.shape[1] - 1
        quick, slow = np.clip(slow - 1, 0, last), np.clip(slow, 0, last)
        return quick, slow, *self.at_points(rows, self.fleet.tables.tau_s, quick, slow)

    def share(self, rows: np.ndarray, trained: np.ndarray, tau_quick: np.ndarray, tau_slow: np.ndarray) -> np.ndarray:
        """How many of the trained samples (M, W) must run on the quick clock, not yet whole."""
        over = trained * tau_slow - self.available_s[rows, None]
        step = tau_slow - tau_quick
        return np.divide(over, step, out=np.zeros_like(step), where=step > 0)

    def split(self, rows: np.ndarray, samples: np.ndarray) -> Split:
        """The fewest samples on the quick clock that keep the time, up to the end of a batch; `rows` have tables."""
        trained = self.fleet.epochs * samples
        quick, slow, *taus = self.pair(rows, trained)
        need = np.clip(np.ceil(self.share(rows, trained, *taus) - _SLACK), 0, trained).astype(np.int64)
        first, last = self.since(need, samples), trained - self.until(trained - need, samples)
        return Split(quick, slow, np.minimum(first, last), last < first)

    def until(self, count: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """The last end of a batch (M, W) not after so many trained samples."""
        epochs, rest = np.divmod(count, np.maximum(samples, 1))
        return epochs * samples + rest // self.batch * self.batch

    def since(self, count: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """The first end of a batch (M, W) not before so many trained samples."""
        epochs, rest = np.divmod(count, np.maximum(samples, 1))
        return epochs * samples + np.minimum(-(-rest // self.batch) * self.batch, samples)

    def _filling(self, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Samples (M, W), not yet whole, with which the time is used up when the clock changes at a border of batches.

        With e whole epochs and j batches on the one clock and all else on the other, e*D*tau + j*B*tau +
        ((n - e)*D - j*B)*tau' = A gives D; e and j are taken near those of the continuous plan.
        """
        trained = self.fleet.epochs * wanted[:, None]
        _, _, tau_quick, tau_slow = self.pair(rows, trained)
        share = np.clip(self.share(rows, trained, tau_quick, tau_slow), 0.0, trained)
        found = []
        for count, tau, other in ((share, tau_quick, tau_slow), (trained - share, tau_slow, tau_quick)):
            epochs = np.minimum(np.floor(count / wanted[:, None]), self.fleet.epochs - 1)
            batches = np.maximum(np.floor((count - epochs * wanted[:, None]) / self.batch) + _AROUND, 0.0)
            spent_s = batches * self.batch * (tau - other)
            per_sample_s = epochs * tau + (self.fleet.epochs - epochs) * other
            found.append(np.floor((self.available_s[rows, None] - spent_s) / per_sample_s + _SLACK))
        return np.concatenate(found, axis=1)

    # ---- analytic laws -------------------------------------------------------------------------------------------

    def _run_curve(self, rows: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(clock, busy seconds, watts), each (M, W): as slowly as the time allows, but not below the cheapest clock."""
        curves, own = self.fleet.curves, self._curve[rows]
        fixed_s, cycles = curves.fixed_s[own, None], curves.cycles[own, None]
        trained = self.fleet.epochs * samples
        spare_s = self.available_s[rows, None] / np.maximum(trained, 1) - fixed_s
        needed = np.divide(cycles, spare_s, out=np.full(samples.shape, np.inf), where=spare_s > 0)
        cheapest = cycles / (self.fleet.tau_idle_s[rows, None] - fixed_s)
        freq = np.clip(np.maximum(cheapest, needed), curves.freq_min_hz[own, None], curves.freq_max_hz[own, None])
        seconds = trained * energy.seconds_per_sample(freq, fixed_s, cycles)
        return freq, seconds, energy.busy_power_w(freq, curves.power_static_w[own, None], curves.kappa[own, None])


def _places(rows: np.ndarray, count: int) -> np.ndarray:
    """Where each of `count` devices stands in `rows`; -1 where it does not."""
    places = np.full(count, -1)
    places[rows] = np.arange(len(rows))
    return places
