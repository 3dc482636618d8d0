"""All devices of a fleet under changing prices: blocks that remember where they were, shared among threads.

After each step a block knows how the price of a second would follow the prices of error and medium; the next step
starts there, and mostly needs one evaluation. What a step leaves open is corrected to first order in the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.plan.block_step import Answer, log_excess, moved, search
from server.plan.blocks import Block, split
from server.plan.each import each
from server.plan.fleet import Fleet
from server.plan.points import Points, Step

_STRIDE = 2.0  # e-folds that a prediction may go


@dataclass(frozen=True)
class Totals:
    """Sums over devices: error, use of the medium, and the slopes of both in ln lambda and ln mu."""

    error: float
    use: float
    error_by_error: float
    error_by_medium: float
    use_by_error: float
    use_by_medium: float

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Place:
    """Where the devices of a block are, arrays (N,): nu, what it still lacks, and its slopes in ln lambda and ln mu."""

    price_w: np.ndarray
    lacking_w: np.ndarray
    by_error_w: np.ndarray
    by_medium_w: np.ndarray


class Crowd:
    """The devices of a fleet, with what they remember of the last prices."""

    def __init__(self, fleet: Fleet, price_s_w: np.ndarray | None = None):
        self.fleet = fleet
        with np.errstate(divide="ignore"):
            self._blocks = split(fleet)
        self._prices = (0.0, 0.0)
        starts = (block.scale_w if price_s_w is None else price_s_w[block.rows] for block in self._blocks)
        self._places = [_standing(start) for start in starts]
        self._answers: list[Answer] = []

    def at(self, price_error_j: float, price_medium_j: float, near: float) -> Totals:
        """The sums at prices, with the seconds of every device used to `near` (relative)."""

        def job(index: int) -> tuple[Totals, Place, Answer]:
            block, found = self._blocks[index], self._found(index, price_error_j, price_medium_j, near)
            return *_totals(block, found), found

        done = each(job, range(len(self._blocks)), len(self.fleet))
        self._places = [place for _, place, _ in done]
        self._answers = [found for _, _, found in done]
        self._prices = (price_error_j, price_medium_j)
        return sum((totals for totals, _, _ in done), Totals(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))

    def answers(self, move: tuple[float, float] = (0.0, 0.0)) -> Step:
        """The devices' answers to the last prices; the points are moved, to first order, to prices that lie `move` away
        in ln lambda and ln mu, and to where the seconds of every device are used exactly."""
        columns = [np.empty(len(self.fleet)) for _ in range(6)]

        def job(index: int) -> None:
            block = self._blocks[index]
            parts = _moved_points(block, self._answers[index], self._places[index], move)
            bound_j = _bounds(block, self._answers[index], self._prices[0])
            for column, values in zip(columns, (*parts, bound_j, self._places[index].price_w), strict=True):
                column[block.rows] = values

        each(job, range(len(self._blocks)), len(self.fleet))
        samples, compute_s, upload_s, use, bound_j, price_s_w = columns
        if self.fleet.links.wired.any() or self.fleet.links.shared.any():
            use = np.where(self.fleet.links.banded, use, 0.0)
        return Step(*self._prices, Points(samples, compute_s, upload_s, use), bound_j, price_s_w)

    def _found(self, index: int, price_error_j: float, price_medium_j: float, near: float) -> Answer:
        block, place = self._blocks[index], self._places[index]
        with np.errstate(all="ignore"):
            start = _predicted(block, place, self._prices, (price_error_j, price_medium_j))
            return search(block, start, price_error_j, price_medium_j, near)


def _standing(price_w: np.ndarray) -> Place:
    none = np.zeros_like(price_w)
    return Place(price_w, none, none, none)


def _predicted(block: Block, place: Place, old: tuple[float, float], new: tuple[float, float]) -> np.ndarray:
    """Where the prices of a second will be at new prices, to first order and no further than the next kink."""
    shift_w = place.lacking_w
    for by_price_w, before, after in zip((place.by_error_w, place.by_medium_w), old, new, strict=True):
        if before > 0 and after > 0 and before != after:
            shift_w = shift_w + by_price_w * np.log(after / before)
    step = np.clip(shift_w / (block.scale_w + place.price_w), -_STRIDE, _STRIDE)
    return block.compute.stop(place.price_w, moved(block, place.price_w, step))[0]


def _totals(block: Block, found: Answer) -> tuple[Totals, Place]:
    """The sums of a block, and where it now is."""
    rules, sent = block.rules, found.sent
    with np.errstate(all="ignore"):
        excess = log_excess(block, found)
        smooth = (found.price_w > 0) & (found.quick_s == found.slow_s) & (found.used_by_price < 0)
        give = np.where(smooth, -1.0 / found.used_by_price, 0.0)
        lacking_w = excess * rules.round_s * give
        by_error_w = -rules.epochs * found.samples_by_price * found.priced_j * give
        by_medium_w = sent.seconds_by_medium * give
        error = rules.alpha * np.exp(-rules.beta * found.log_worth)
        slope = error * np.exp(-found.log_worth) * (-rules.beta * rules.eta)
        slope = np.where(found.samples_by_error > 0, slope, 0.0)
        totals = Totals(
            error=float(error.sum() + slope @ (found.samples_by_price * lacking_w)) + rules.gamma * len(block),
            use=float(sent.use.sum() + sent.use_by_price @ lacking_w),
            error_by_error=float(slope @ (found.samples_by_error + found.samples_by_price * by_error_w)),
            error_by_medium=float(slope @ (found.samples_by_price * by_medium_w)),
            use_by_error=float(sent.use_by_price @ by_error_w),
            use_by_medium=float(sent.use_by_medium.sum() + sent.use_by_price @ by_medium_w),
        )
    return totals, Place(found.price_w, lacking_w, by_error_w, by_medium_w)


def _moved_points(block: Block, found: Answer, place: Place, move: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """(samples, compute_s, upload_s, use), each (N,), with all slopes followed."""
    sent, (by_error, by_medium) = found.sent, move
    with np.errstate(all="ignore"):
        shift_w = place.lacking_w + place.by_error_w * by_error + place.by_medium_w * by_medium
        samples = found.samples + found.samples_by_price * shift_w + found.samples_by_error * by_error
        upload_s = sent.seconds + sent.seconds_by_price * shift_w + sent.seconds_by_medium * by_medium
        use = sent.use + sent.use_by_price * shift_w + sent.use_by_medium * by_medium
        pace_s = np.where(found.samples > 0, found.quick_s / found.samples, 0.0)
        hurried_s = np.maximum(block.rules.round_s - upload_s, 0.0)
    return samples, np.where(found.price_w > 0, hurried_s, samples * pace_s), upload_s, use


def _bounds(block: Block, found: Answer, price_error_j: float) -> np.ndarray:
    """What no answer to the prices of the devices (N,) costs less than, in joules with everything priced."""
    rules = block.rules
    with np.errstate(all="ignore"):
        bound_j = rules.epochs * found.samples * found.priced_j + found.sent.priced_j - found.price_w * rules.round_s
        if price_error_j > 0:
            error = rules.alpha * np.exp(-rules.beta * found.log_worth) + rules.gamma
            bound_j = bound_j + price_error_j / rules.count * error
    return bound_j
