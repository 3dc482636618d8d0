"""The paper's search: a normal distribution over splits, drawn from, then moved towards its best draws.

Without smoothing the spread collapses onto the best of the first few draws, and the search stalls far off. Here mean
and spread go only part of the way. How slowly the spread shrinks is what counts: the more devices there are, the less a
good draw says about each of them, and the more draws there are to come, the longer it pays to look around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.plan.search.judge import Judge
from server.plan.search.trace import Trace

_FOLDS = 16.0  # by how many e-folds a spread can shrink within any budget


@dataclass(frozen=True)
class Tuning:
    """`drawn` candidates a generation of which the best `elite` count; smoothing is the part of the way that mean and
    spread go. `spread_smoothing` None: 0.3 for up to 20 devices and 250 generations, less for more of either."""

    drawn: int = 40
    elite: int = 10
    first_spread: float = 0.3
    mean_smoothing: float = 0.7
    spread_smoothing: float | None = None

    def smoothing(self, dimensions: int, evaluations: int) -> float:
        """Of the spread, in a search of so many dimensions and candidates."""
        if self.spread_smoothing is not None:
            return self.spread_smoothing
        generations = max(evaluations / self.drawn, 1.0)
        patient = 0.3 * min(1.0, 20 / dimensions) ** 0.5 * (250 / generations) ** 0.2
        return min(max(patient, _FOLDS / generations), 0.9)


def cross_entropy(judge: Judge, trace: Trace, rng: np.random.Generator, tuning: Tuning | None = None) -> None:
    """Spends the trace's budget; repaired candidates count as what they were repaired to."""
    tuning = tuning or Tuning()
    smoothing = tuning.smoothing(judge.dimensions, trace.left)
    trace.judge(judge.start[None, :])
    mean, spread = judge.start.copy(), np.full(judge.dimensions, tuning.first_spread)
    while trace.left > 0:
        judged = trace.judge(mean + spread * rng.standard_normal((tuning.drawn, judge.dimensions)))
        best = judged.splits[np.argsort(judged.joules)[: tuning.elite]]
        mean = mean + tuning.mean_smoothing * (best.mean(axis=0) - mean)
        spread = spread + smoothing * (best.std(axis=0) - spread)
