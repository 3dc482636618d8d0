"""Boards whose uploads may move: clocks change at the nearest border of batches, and the upload makes up for it.

Where the upload stays as planned, the quick clock's part is rounded up to a border, which costs half a batch at the
mean. At the optimum a second is worth the same to both sides, so a border too early or too late costs to second order
only, if the upload gets what remains of the round and the medium is shared out anew.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np

from server.plan.boards import Boards, Split
from server.plan.diagnosis import NoPlanError
from server.plan.fleet import Fleet
from server.plan.levels import at_power
from server.plan.points import Points
from server.plan.problem import Executed, Uploads
from server.plan.realise import whole
from server.plan.upload_step import told_power_w, upload_joules
from server.plan.windows import Windows

_DEARER = (0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)  # than planned: the medium, until it suffices for the windows


class MovingBoards(Boards):
    """Boards that pay for their uploads, too: `joules` are those of both, with the medium at its price."""

    def __init__(self, fleet: Fleet, batch_size: int, windows: Windows):
        super().__init__(fleet, windows.planned_s, batch_size)
        self._windows = windows

    def joules(self, rows: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """E_cmp + E_com + mu*use (M, W) of the devices `rows` (M,) for whole `samples` (M, W)."""
        window_s = np.broadcast_to(self._windows.planned_s[rows, None], samples.shape).copy()
        tabled = np.flatnonzero(self.tabled[rows])
        if len(tabled):
            split = self.split(rows[tabled], samples[tabled])
            window_s[tabled] = self._left_s(rows[tabled], samples[tabled], split)
        return super().joules(rows, samples) + self._windows.least(rows, window_s)

    def split(self, rows: np.ndarray, samples: np.ndarray) -> Split:
        """The cheapest of the borders of batches before and after the place where the time would be used up."""
        trained = self.fleet.epochs * samples
        quick, slow, *taus = self.pair(rows, trained)
        share = np.clip(self.share(rows, trained, *taus), 0.0, trained)
        before, after = (rounded(share).astype(np.int64) for rounded in (np.floor, np.ceil))
        quick_j, slow_j = self.at_points(rows, self.fleet.tables.joules, quick, slow)
        borders = (
            (False, self.since(after, samples)),
            (False, self.until(before, samples)),
            (True, trained - self.until(trained - after, samples)),
            (True, trained - self.since(trained - before, samples)),
        )
        options = [Split(quick, slow, count, np.full(count.shape, last)) for last, count in borders]
        costs = np.stack([self._costs(rows, samples, option, quick_j - slow_j) for option in options])
        best = costs.argmin(axis=0)
        count, last = (
            np.choose(best, [getattr(option, name) for option in options]) for name in ("quick_samples", "slow_first")
        )
        return Split(quick, slow, count, last)

    def _costs(self, rows: np.ndarray, samples: np.ndarray, split: Split, more_j: np.ndarray) -> np.ndarray:
        """Priced joules (M, W) that depend on the border; `more_j` (M, W) is what the quick clock costs a sample."""
        return split.quick_samples * more_j + self._windows.least(rows, self._left_s(rows, samples, split))

    def _left_s(self, rows: np.ndarray, samples: np.ndarray, split: Split) -> np.ndarray:
        """Seconds (M, W) of the round that training leaves."""
        quick_s, slow_s = self.at_points(rows, self.fleet.tables.tau_s, split.quick, split.slow)
        busy_s = self.fleet.epochs * samples * slow_s + split.quick_samples * (quick_s - slow_s)
        return self.fleet.round_s - busy_s


def with_moved_uploads(
    fleet: Fleet, points: Points, executed: Executed, price_medium_j: float, batch_size: int
) -> Executed:
    """What boards and their radios are told: `executed` with uploads of its own, or what costs less with moved ones."""
    planned_w = told_power_w(fleet, points.upload_s, points.bandwidth_hz)
    planned_j = upload_joules(fleet, points.upload_s, points.bandwidth_hz)
    stay = replace(executed, uploads=Uploads(points.upload_s, points.bandwidth_hz, planned_w, planned_j))
    leveled = np.flatnonzero(fleet.links.leveled)
    convex = at_power(fleet, leveled, planned_w[leveled]) if len(leveled) else fleet  # each at the level it has
    for dearer in _DEARER:
        windows = Windows(convex, points.upload_s, price_medium_j * (1.0 + dearer))
        with suppress(NoPlanError):
            go = whole(MovingBoards(convex, batch_size, windows), points.samples)
            shared = windows.shared(fleet.round_s - go.compute_s)
            if shared is not None:
                joules = upload_joules(convex, *shared)
                go = replace(go, uploads=Uploads(*shared, told_power_w(convex, *shared), joules))
                return min(stay, go, key=_joules)
    return stay


def _joules(executed: Executed) -> float:
    assert executed.uploads is not None
    return float(executed.compute_j.sum() + executed.uploads.upload_j.sum())
