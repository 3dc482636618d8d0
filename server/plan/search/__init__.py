"""Searching for what `server.plan` solves: the paper's method, two others beside it, and the whole problem in cvxpy.

The paper searches over how each device splits its round between computing and uploading, and solves what is left by two
convex sub-problems. Here the same splits and sub-problems serve three searchers - cross-entropy, a genetic algorithm,
a gradient method -, so that they can be compared with the optimum and with each other. None of them knows a bound:
what they find is judged by the exact solver's. Nothing is shared with that solver but `Fleet`, `Points`, the
formulae in `models` and the inverses of the upload's laws; cvxpy shares not even those.

    split (P, F)  ->  split.py: deadlines (P, I)  ->  data_step (samples, clocks) and band_step (hertz, power)
                  ->  judge.py: joules (P,), repaired where it could not be kept  ->  the searchers
"""

from server.plan.search.conic import refuse_for_cvxpy, solve_cvxpy
from server.plan.search.judge import Judge
from server.plan.search.searching import METHODS, Searched, default_evaluations, refuse_for_search, search

__all__ = [
    "METHODS",
    "Judge",
    "Searched",
    "default_evaluations",
    "refuse_for_cvxpy",
    "refuse_for_search",
    "search",
    "solve_cvxpy",
]
