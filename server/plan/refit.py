"""What the rounds have measured, folded into what the plan believes about a device. Pure.

A board is not what it was when it was profiled: it is warmer, its link is busier, its meter reads a little else. All of
that moves every clock alike, and besides each clock has an error of its own from the profile's short windows. So the
logarithm of (what is true now) / (what the profile says) is, at operating point k,

    y_k = drift + own_k        drift ~ N(0, DRIFT**2), a random walk of WALK a round;  own_k ~ N(0, u_k**2)

with u_k the relative uncertainty of the profile's point. A measurement at point k is y_k plus noise. That is a linear
Gaussian model, and its recursive least squares (the Kalman filter, e.g. Simon, Optimal State Estimation, ch. 5) gives
for every point, also those never used since, a value *and* how far to trust it. What a round shows at one clock thus
corrects all clocks, by as much as it can tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

DRIFT = 0.10
"""Relative standard deviation by which a board may differ as a whole from its profile, before anything was measured."""

WALK = 0.01
"""Relative standard deviation of that difference's change from one round to the next."""

POINT = 0.03
"""Relative uncertainty of a profile's point that states none."""

NOISE = 0.02
"""Relative standard deviation of one round's measurement, besides what the meter states."""

SIGMAS = 2.0
"""A measurement further from its prediction than so many standard deviations is a miss."""


@dataclass(frozen=True)
class Belief:
    """ln(true / profiled) of K points: `mean` (K + 1,) and `covariance` (K + 1, K + 1) of (own_1 .. own_K, drift)."""

    mean: np.ndarray
    covariance: np.ndarray

    def factor(self, point: int) -> float:
        """By how much the profile's value at `point` is to be multiplied."""
        return math.exp(self.mean[point] + self.mean[-1])

    @property
    def factors(self) -> np.ndarray:
        """`factor` of every point (K,)."""
        return np.exp(self.mean[:-1] + self.mean[-1])

    def deviation(self, point: int) -> float:
        """The relative standard deviation of `factor(point)`."""
        row = _row(len(self.mean), point)
        return math.sqrt(float(row @ self.covariance @ row))


@dataclass(frozen=True)
class Outlook:
    """A prediction with its uncertainty and what came: `predicted`, `measured` in the quantity's unit; `deviation`
    relative, of a single measurement around the prediction."""

    predicted: float
    measured: float
    deviation: float

    @property
    def missed(self) -> bool:
        """Whether the measurement lies further off than the stated uncertainty allows."""
        return abs(math.log(self.measured / self.predicted)) > SIGMAS * self.deviation


def first_belief(uncertainty: np.ndarray) -> Belief:
    """Before any round: the profile, as far as it goes. `uncertainty` (K,) relative, nan where a point states none."""
    own = np.where(np.isfinite(uncertainty), uncertainty, POINT)
    spread = np.append(own, DRIFT)
    return Belief(np.zeros(len(spread)), np.diag(spread**2))


def next_round(belief: Belief) -> Belief:
    """A round later: the drift may have moved on."""
    covariance = belief.covariance.copy()
    covariance[-1, -1] += WALK**2
    return replace(belief, covariance=covariance)


def unsettle(belief: Belief, point: int, deviation: float) -> Belief:
    """The belief where a board did not do at `point` what it was asked: this clock's own error may be `deviation`.

    What was learned of the board as a whole is kept: a clock that cannot be held says nothing of the others.
    """
    covariance = belief.covariance.copy()
    covariance[point, point] += deviation**2
    return replace(belief, covariance=covariance)


def outlook(belief: Belief, point: int, profiled: float, measured: float, noise: float = 0.0) -> Outlook:
    """What was to be expected at `point` against what was measured; `noise` is the meter's relative uncertainty."""
    spread = math.sqrt(belief.deviation(point) ** 2 + NOISE**2 + noise**2)
    return Outlook(profiled * belief.factor(point), measured, spread)


def learn(belief: Belief, point: int, profiled: float, measured: float, noise: float = 0.0) -> Belief:
    """The belief after a measurement at `point`: both values > 0 in the same unit; `noise` as in `outlook`.

    Raises ValueError for a value that is not above 0.
    """
    if not (profiled > 0 and measured > 0 and math.isfinite(measured)):
        raise ValueError(f"nothing can be learned from {measured} where {profiled} was profiled: both must be above 0")
    row = _row(len(belief.mean), point)
    reach = belief.covariance @ row
    spread = float(row @ reach) + NOISE**2 + noise**2
    surprise = math.log(measured / profiled) - float(row @ belief.mean)
    gain = reach / spread
    covariance = belief.covariance - np.outer(gain, reach)
    return Belief(belief.mean + gain * surprise, 0.5 * (covariance + covariance.T))


def _row(size: int, point: int) -> np.ndarray:
    """What a measurement at `point` sees of the state: its own error and the drift."""
    row = np.zeros(size)
    row[point] = row[-1] = 1.0
    return row
