"""What a search has spent and found so far."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from server.plan.search.judge import Judge, Judged


class Trace:
    """Hands candidates to the judge, no more than the budget allows, and keeps the best."""

    def __init__(self, judge: Judge, evaluations: int, report: Callable[[int, float], None] | None = None):
        self._judge, self._budget, self._report = judge, evaluations, report
        self.best_j, self.best_split = np.inf, judge.start
        self.history: list[tuple[int, float]] = []

    @property
    def left(self) -> int:
        """Candidates that may still be judged."""
        return self._budget - self._judge.evaluations

    @property
    def spent(self) -> float:
        """The part of the budget that is spent, in [0, 1]."""
        return self._judge.evaluations / self._budget

    def judge(self, splits: np.ndarray, *, slopes: bool = False) -> Judged:
        """Costs of the first of splits (P, F) that the budget allows."""
        judged = self._judge(splits[: self.left], slopes=slopes)
        best = int(judged.joules.argmin())
        if judged.joules[best] < self.best_j:
            self.best_j, self.best_split = float(judged.joules[best]), judged.splits[best]
        self.history.append((self._judge.evaluations, self.best_j))
        if self._report is not None:
            self._report(self._judge.evaluations, self.best_j)
        return judged
