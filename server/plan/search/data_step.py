"""The data sub-problem: the least compute energy at given compute times under the accuracy target.

Given the seconds t of every device, choose its samples D: minimise sum C(D; t) subject to the accuracy target and
local <= D <= min(most, t/(n*tau_min)), where C = n*D*e(t/(n*D)) and a device that has time to spare waits. One price of
error, lambda, takes the devices apart; each answers where what one more sample costs meets what its error is worth. All
of it is done for a whole generation of candidates, arrays (P, I).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import learning_curve
from server.plan.fleet import Fleet
from server.plan.search.multiplier import NEAR, SLACK, log_prices_where
from server.plan.search.processors import Laws, Lines


@dataclass(frozen=True)
class DataAnswer:
    """samples, joules (P, I); price_error_j (P,) is lambda; `reached` (P,) whether the target can be kept at all."""

    samples: np.ndarray
    joules: np.ndarray
    price_error_j: np.ndarray
    reached: np.ndarray


class DataStep:
    """The sub-problem for one fleet; remembers the last price as the next guess."""

    def __init__(self, fleet: Fleet):
        self.fleet = fleet
        self.tables, self.curves = Lines(fleet), Laws(fleet)
        self._guess: float | None = None

    def most_samples(self, compute_s: np.ndarray) -> np.ndarray:
        """(P, I): all that storage and the highest clock allow in compute_s (P, I)."""
        fleet = self.fleet
        return np.maximum(fleet.local, np.minimum(fleet.most, compute_s / (fleet.epochs * fleet.tau_min_s)))

    def log_error(self, samples: np.ndarray) -> np.ndarray:
        """ln of mean error over the target, both above the curve's floor, (P,); <= 0 where the target is kept."""
        fleet, curve = self.fleet, self.fleet.curve
        count = len(samples)
        if fleet.target_error is None:
            return np.full(count, -np.inf)
        if fleet.target_error <= curve.gamma:
            return np.full(count, np.inf)
        worth = fleet.worth(samples)
        if fleet.pooled:
            worth = worth.mean(axis=1, keepdims=True)
        above = learning_curve.error(worth, curve.alpha, curve.beta, 0.0).mean(axis=1)
        return np.log(above / (fleet.target_error - curve.gamma))

    def solve(self, compute_s: np.ndarray) -> DataAnswer:
        """The best samples at compute_s (P, I) >= n*local*tau_min; where not `reached`, as many as possible."""
        fleet, count = self.fleet, len(compute_s)
        local = np.broadcast_to(fleet.local, compute_s.shape)
        if fleet.target_error is None:
            return DataAnswer(local, self.joules(local, compute_s), np.zeros(count), np.ones(count, dtype=bool))
        top = self.most_samples(compute_s)
        reached = self.log_error(top) <= SLACK
        free = self.log_error(local) <= 0  # a price of 0: local samples are enough
        samples, price = np.where(free[:, None], local, top), np.zeros(count)
        rows = np.flatnonzero(reached & ~free)
        if len(rows):
            answer = _Answers(self, compute_s[rows], top[rows])
            guess = self._scale() if self._guess is None else self._guess
            short, enough = log_prices_where(answer.excess, np.full(len(rows), guess))
            self._guess = float(np.median(enough))
            price[rows] = np.exp(enough)
            samples[rows] = answer.between(short, enough)
            edge = self.log_error(samples[rows]) > SLACK  # only at the very edge, where the price has no end
            samples[rows[edge]] = top[rows[edge]]
        return DataAnswer(samples, self.joules(samples, compute_s), price, reached)

    def joules(self, samples: np.ndarray, compute_s: np.ndarray) -> np.ndarray:
        """C (P, I) of samples in compute_s (P, I): time beyond the cheapest clock's is waited out."""
        trained = self.fleet.epochs * samples
        total = np.empty_like(compute_s)
        for kind in (self.tables, self.curves):
            total[:, kind.rows] = kind.joules(trained[:, kind.rows], compute_s[:, kind.rows])
        return total

    def slopes(self, answer: DataAnswer, compute_s: np.ndarray) -> np.ndarray:
        """d(least energy)/dt (P, I) <= 0 in watts, by the envelope theorem.

        C is homogeneous of degree 1, so C = N*C_N + t*C_t with N = n*D; C_N is what the price of error pays for a
        trained sample, within the slopes that C has on both sides of the point.
        """
        fleet = self.fleet
        steep = self._steepness(fleet.worth(answer.samples))
        paid = fleet.eta / (len(fleet) * fleet.epochs) * answer.price_error_j[:, None] * steep
        trained = fleet.epochs * answer.samples
        for kind in (self.tables, self.curves):
            below, over = kind.sides(trained[:, kind.rows], compute_s[:, kind.rows])
            paid[:, kind.rows] = np.clip(paid[:, kind.rows], below, over)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (answer.joules - trained * paid) / compute_s
        return np.where(trained > 0, np.minimum(slope, 0.0), 0.0)

    def _scale(self) -> float:
        """ln lambda at which a middling device, in no hurry, trains half of what it could."""
        fleet = self.fleet
        per_sample = self.joules(np.ones((1, len(fleet))), np.full((1, len(fleet)), np.inf))[0]
        worth = np.maximum(fleet.local + 0.5 * fleet.eta * (fleet.most - fleet.local), 1.0)
        return float(np.log(np.median(per_sample / self._steepness(worth)) * len(fleet) / fleet.eta))

    def _steepness(self, worth: np.ndarray) -> np.ndarray:
        """What one more effective sample saves of the error, -err' of a device's own or of the pooled data."""
        fleet, curve = self.fleet, self.fleet.curve
        if fleet.target_error is not None and fleet.pooled:
            return np.full_like(worth, fleet.worth_slope)
        return -learning_curve.error_slope(np.maximum(worth, 1e-90), curve.alpha, curve.beta)


class _Answers:
    """What every device answers to a price of error, for candidates (R,) with their times and most samples (R, I)."""

    def __init__(self, step: DataStep, compute_s: np.ndarray, top: np.ndarray):
        self.step, self.compute_s, self.top = step, compute_s, top
        self.last = top.copy()  # where Newton starts

    def excess(self, log_price: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self.step.log_error(self.samples(log_price, rows))

    def samples(self, log_price: np.ndarray, rows: np.ndarray) -> np.ndarray:
        fleet, found = self.step.fleet, np.empty((len(rows), len(self.step.fleet)))
        price = np.exp(log_price)[:, None] * fleet.eta / (len(fleet) * fleet.epochs)
        for kind in (self.step.tables, self.step.curves):
            whole = self.compute_s[rows][:, kind.rows]
            if fleet.pooled:
                found[:, kind.rows] = kind.samples_for(price * fleet.worth_slope, whole)
            else:
                found[:, kind.rows] = kind.samples(price, whole, self.last[rows][:, kind.rows])
        self.last[rows] = np.clip(found, fleet.local, self.top[rows])
        return self.last[rows]

    def between(self, short: np.ndarray, enough: np.ndarray) -> np.ndarray:
        """Samples (R, I) at the second log price, or, where they jump (only a pooled target's do), so far between the
        answers of both that the target is just kept; all of them cost the same there."""
        rows = np.arange(len(short))
        samples = self.samples(enough, rows)
        fleet, jumped = self.step.fleet, np.flatnonzero(short < enough)
        if fleet.pooled and len(jumped):
            fewer, more = self.samples(short[jumped], jumped), samples[jumped]
            has, gets = (fleet.worth(some).mean(axis=1) for some in (fewer, more))
            with np.errstate(divide="ignore", invalid="ignore"):
                part = (fleet.wanted_worth * (1 + NEAR) - has) / (gets - has)
            part = np.clip(np.where(np.isfinite(part), part, 1.0), 0.0, 1.0)
            samples[jumped] = fewer + part[:, None] * (more - fewer)
        return samples
