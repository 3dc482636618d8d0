"""Over the whole training: how much data a round should have so that the joules *to an accuracy* are least. Pure.

The planner makes one round cheap. More data makes a round dearer and saves rounds; where the balance lies depends on
how accuracy grows over rounds with that much data, which is measured (server/learning/federated.py), never assumed.
Accuracy wavers from round to round, so the curves of several seeds are averaged and made monotone (isotonic
regression, the least-squares fit that never falls) before they are asked when they cross a target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression


@dataclass(frozen=True)
class RoundCurve:
    """Accuracy (n_seeds, n_rounds) after each round of a federation in which the devices hold `fill_factor` times the
    effective data that they have of their own; 1: local data alone."""

    fill_factor: float
    accuracy: np.ndarray

    @property
    def monotone(self) -> np.ndarray:
        """The mean over seeds (n_rounds,), made never to fall."""
        return np.asarray(isotonic_regression(self.accuracy.mean(axis=0)).x)


@dataclass(frozen=True)
class Outlay:
    """What reaching the target is predicted to cost with one amount of data; `rounds` may be a fraction."""

    fill_factor: float
    rounds: float
    round_j: float

    @property
    def total_j(self) -> float:
        return self.rounds * self.round_j


def rounds_to(curve: RoundCurve, accuracy: float) -> float | None:
    """Rounds until the curve crosses `accuracy`, between rounds by a straight line; None where it never does.

    The untrained model is not evaluated: what the first round reaches costs the whole of it.
    """
    values = curve.monotone
    at = int(np.searchsorted(values, accuracy))
    if at == len(values):
        return None
    if at == 0:
        return 1.0
    below, above = values[at - 1], values[at]
    return float(at + (accuracy - below) / (above - below))


def outlays(
    curves: Sequence[RoundCurve], round_j: Callable[[float], float | None], accuracy: float
) -> tuple[Outlay, ...]:
    """The amounts of data that reach `accuracy`, cheapest first.

    `round_j` tells the joules of a round with a fill factor, None where no plan keeps the constraints with it.
    """
    found = []
    for curve in curves:
        rounds = rounds_to(curve, accuracy)
        joules = None if rounds is None else round_j(curve.fill_factor)
        if rounds is not None and joules is not None:
            found.append(Outlay(curve.fill_factor, rounds, joules))
    return tuple(sorted(found, key=lambda outlay: outlay.total_j))


def reachable(curves: Sequence[RoundCurve]) -> float:
    """The highest accuracy that any of the curves reaches; for a sentence where a target is too high."""
    return max(float(curve.monotone[-1]) for curve in curves)
