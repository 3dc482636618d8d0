"""A genetic algorithm over splits: tournaments, blended parents, mutations that get smaller."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.plan.search.judge import Judge
from server.plan.search.trace import Trace


@dataclass(frozen=True)
class Tuning:
    """A child's split lies between its parents' or up to `overshoot` of their distance beyond; each is mutated with
    probability `mutated`, by a normal step that falls from `first_step` to `last_step` over the budget."""

    population: int = 20
    kept: int = 2
    tournament: int = 3
    overshoot: float = 0.2
    mutated: float = 0.1
    first_step: float = 0.3
    last_step: float = 1e-4


def genetic(judge: Judge, trace: Trace, rng: np.random.Generator, tuning: Tuning | None = None) -> None:
    """Spends the trace's budget; the best `kept` of a generation live on unchanged."""
    tuning = tuning or Tuning()
    first = judge.start + tuning.first_step * rng.standard_normal((tuning.population, judge.dimensions))
    first[0] = judge.start
    judged = trace.judge(first)
    splits, joules = judged.splits, judged.joules
    children = tuning.population - tuning.kept
    while trace.left > 0:
        mother, father = (splits[_winners(joules, children, tuning.tournament, rng)] for _ in range(2))
        place = rng.uniform(-tuning.overshoot, 1.0 + tuning.overshoot, mother.shape)
        step = tuning.first_step * (tuning.last_step / tuning.first_step) ** trace.spent
        mutation = step * rng.standard_normal(mother.shape) * (rng.uniform(size=mother.shape) < tuning.mutated)
        judged = trace.judge(mother + place * (father - mother) + mutation)
        kept = np.argsort(joules)[: tuning.kept]
        splits = np.concatenate([splits[kept], judged.splits])
        joules = np.concatenate([joules[kept], judged.joules])


def _winners(joules: np.ndarray, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (count,) of the cheapest of `size` drawn at random, each."""
    drawn = rng.integers(len(joules), size=(count, size))
    return drawn[np.arange(count), joules[drawn].argmin(axis=1)]
