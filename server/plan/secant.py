"""Newton's method for two prices whose slopes are known only in part: device by device, but not across their jumps."""

from __future__ import annotations

import numpy as np

_STRIDE, _SHORT = 0.7, 0.1  # e-folds that one step may go, and where the slopes were known before
_STIFFNESS = 1e-6  # added to the slopes, across flat stretches
_MISSED = 0.1  # of a change: what slopes that are good enough may have missed
_TRIES = 2  # steps that need not get nearer


class Course:
    """Logs of prices (P,) asked so far with what is in excess there (P,); proposes where there may be none.

    Of the devices' own slopes (P, P) and those between the points asked, the ones that foretold the last point better
    are followed. `steep` may come from another fleet like this one.
    """

    def __init__(self, steep: np.ndarray | None, near: float):
        self.steep, self._near = steep, near
        self._own, self._stride = steep is None, _STRIDE if steep is None else _SHORT
        self._at: np.ndarray | None = None
        self._excess = self._slope = np.zeros(0)
        self._far, self._failed = np.inf, 0

    def add(self, at: np.ndarray, excess: np.ndarray, slope: np.ndarray) -> None:
        """A point asked, with the devices' own slopes there."""
        steep = slope if self.steep is None else self.steep
        if self._at is not None and (at != self._at).any():
            by, rise = at - self._at, excess - self._excess
            missed = np.abs(rise - self._slope @ by).max(), np.abs(rise - steep @ by).max()
            self._own = bool(missed[0] < missed[1] or missed[0] <= _MISSED * np.abs(rise).max())
            steep = steep + np.outer(rise - steep @ by, by) / (by @ by)
        self.steep = steep
        far = float(np.abs(excess).max(initial=0.0))
        self._failed = 0 if far < 0.5 * self._far else self._failed + 1
        if far < self._far:
            self._at, self._excess, self._slope, self._far = at, excess, slope, far

    def next(self) -> np.ndarray | None:
        """Where the excess may be -near; None where steps no longer get nearer."""
        if self._at is None or self._failed >= _TRIES:
            return None
        known = self._slope if self._own or self.steep is None else self.steep
        steep = known - _STIFFNESS * np.eye(len(self._at))
        if not np.isfinite(steep).all() or abs(np.linalg.det(steep)) < 1e-300:
            return None
        move = np.linalg.solve(steep, -self._near - self._excess)
        longest = float(np.abs(move).max())
        return self._at + move * min(1.0, self._stride / max(longest, 1e-300))
