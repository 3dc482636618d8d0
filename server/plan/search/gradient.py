"""Projected gradient over splits; slopes come from the multipliers of the two sub-problems (envelope theorem).

Joules are convex in the seconds but have kinks, where a table's points and early ends lie: there a gradient's size says
nothing about how far to go. So only its signs are followed, each split with a step of its own that grows while the sign
stays and is halved when it turns (Rprop, Riedmiller and Braun 1993), and splits are cut off at 0 and 1. Where kinks of
several devices meet on a slant, no split moved alone gains anything: there the method can end short of the least.
"""

from __future__ import annotations

import numpy as np

from server.plan.search.judge import Judge
from server.plan.search.trace import Trace

_FIRST_STEP, _LONGEST_STEP, _SHORTEST_STEP = 0.05, 0.2, 1e-9
_GROWTH, _CUT = 1.2, 0.5
_GAIN, _PATIENCE = 1e-10, 60  # relative: less than that in so many candidates is what the sub-problems leave open


def gradient(judge: Judge, trace: Trace, _rng: np.random.Generator) -> None:
    """Goes from the start until nothing moves or gains any more or the budget is spent; one candidate a step."""
    split = judge.start[None, :]
    step, last = np.full(split.shape, _FIRST_STEP), np.zeros(split.shape)
    best_j, idle = np.inf, 0
    while trace.left > 0 and step.max() > _SHORTEST_STEP and idle < _PATIENCE:
        judged = trace.judge(split, slopes=True)
        assert judged.slopes is not None
        gained = trace.best_j < best_j * (1.0 - _GAIN)
        best_j, idle = (trace.best_j, 0) if gained else (best_j, idle + 1)
        sign = np.sign(judged.slopes)
        turned, stayed = sign * last < 0, sign * last > 0
        step = np.where(stayed, np.minimum(_GROWTH * step, _LONGEST_STEP), np.where(turned, _CUT * step, step))
        last = np.where(turned, 0.0, sign)  # a step back waits for one more look
        moved = np.clip(judged.splits - last * step, 0.0, 1.0)
        still = (moved == judged.splits) & ~turned  # at its end, or flat: nothing to look for
        step = np.where(still, _CUT * step, step)
        split = moved
