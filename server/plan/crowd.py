"""All devices of a fleet under changing prices: blocks that remember where they were, shared among threads.

After each step a block knows how the price of a second would follow the prices of error and medium; the next step
starts there, and mostly needs one evaluation. What a step leaves open is corrected to first order in the sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import learning_curve
from server.plan.block_step import Answer, Prices, log_excess, moved, priced, search
from server.plan.blocks import Block, split
from server.plan.fleet import Fleet
from server.plan.points import Points, Step
from server.plan.threads import on_threads

_STRIDE = 2.0  # e-folds that a prediction may go
_NEARBY = 0.05  # of a price: how far a kink may move between two plans
_ON, _ABOUT = 0, 2  # sides of a kink: on it, or on it if it is near
_NOWHERE = np.zeros(0, dtype=np.int8)


@dataclass(frozen=True)
class Totals:
    """Sums over devices: error (pooled: effective samples), use of the medium, and the slopes of both in ln lambda and
    ln mu."""

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
    """Where the devices of a block are, arrays (N,): nu, what it still lacks, and its slopes in ln lambda and ln mu;
    `side` of the kink of a pooled target: -1 below, 0 on it, 1 above, 2 for a nu of another time."""

    price_w: np.ndarray
    lacking_w: np.ndarray
    by_error_w: np.ndarray
    by_medium_w: np.ndarray
    side: np.ndarray


class Crowd:
    """The devices of a fleet, with what they remember of the last prices."""

    def __init__(self, fleet: Fleet, price_s_w: np.ndarray | None = None):
        self.fleet = fleet
        with np.errstate(divide="ignore"):
            self._blocks = split(fleet)
        self._prices = (0.0, 0.0)
        side = _ON if price_s_w is None else _ABOUT
        starts = (block.scale_w if price_s_w is None else price_s_w[block.rows] for block in self._blocks)
        self._places = [_standing(start, side) for start in starts]
        self._answers: list[Answer] = []

    def at(self, price_error_j: float, price_medium_j: float, near: float) -> Totals:
        """The sums at prices, with the seconds of every device used to `near` (relative)."""

        def job(index: int) -> tuple[Totals, Place, Answer]:
            block, found = self._blocks[index], self._found(index, price_error_j, price_medium_j, near)
            return *_totals(block, found, price_error_j), found

        done = on_threads(job, range(len(self._blocks)), len(self.fleet))
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

        on_threads(job, range(len(self._blocks)), len(self.fleet))
        samples, compute_s, upload_s, use, bound_j, price_s_w = columns
        if self.fleet.links.wired.any() or self.fleet.links.shared.any():
            use = np.where(self.fleet.links.banded, use, 0.0)
        return Step(*self._prices, Points(samples, compute_s, upload_s, use), bound_j, price_s_w)

    def _found(self, index: int, price_error_j: float, price_medium_j: float, near: float) -> Answer:
        block, place = self._blocks[index], self._places[index]
        with np.errstate(all="ignore"):
            prices = priced(block, price_error_j, price_medium_j)
            return search(block, _predicted(block, place, self._prices, prices), prices, near)


def _standing(price_w: np.ndarray, side: int) -> Place:
    none = np.zeros_like(price_w)
    return Place(price_w, none, none, none, np.full(len(price_w), side, dtype=np.int8))


def _predicted(block: Block, place: Place, old: tuple[float, float], prices: Prices) -> np.ndarray:
    """Where the prices of a second will be at new prices, to first order and no further than the next kink."""
    shift_w = place.lacking_w
    new = prices.error_j, prices.medium_j
    for by_price_w, before, after in zip((place.by_error_w, place.by_medium_w), old, new, strict=True):
        if before > 0 and after > 0 and before != after:
            shift_w = shift_w + by_price_w * np.log(after / before)
    step = np.clip(shift_w / (block.scale_w + place.price_w), -_STRIDE, _STRIDE)
    start_w = block.compute.stop(place.price_w, moved(block, place.price_w, step))[0]
    kink_w = prices.affordable_w
    if len(place.side) and place.side[0] == _ABOUT:
        return _on_a_kink_nearby(block, start_w, kink_w)
    if kink_w is None:
        return start_w
    return np.where((kink_w >= 0) & (np.sign(start_w - kink_w) != place.side), kink_w, start_w)


def _on_a_kink_nearby(block: Block, price_w: np.ndarray, affordable_w: np.ndarray | None) -> np.ndarray:
    """Prices of another time, on the kink that they may have stood on then."""
    near = _NEARBY * (block.scale_w + price_w)
    kinks = [block.compute.kink_w(price_w)] + ([] if affordable_w is None else [affordable_w])
    for kink_w in kinks:
        price_w = np.where((kink_w > 0) & (np.abs(price_w - kink_w) < near), kink_w, price_w)
    return price_w


def _totals(block: Block, found: Answer, price_error_j: float) -> tuple[Totals, Place]:
    """The sums of a block, and where it now is."""
    rules, sent, data = block.rules, found.sent, found.data
    with np.errstate(all="ignore"):
        excess = log_excess(block, found)
        smooth = (found.price_w > 0) & (found.quick_s == found.slow_s) & (found.used_by_price < 0)
        give = np.where(smooth, -1.0 / found.used_by_price, 0.0)
        lacking_w = excess * rules.round_s * give
        # where more time is used as lambda rises: n*D_lambda*tau, and on a pooled kink nu itself follows
        by_error_w = np.where(smooth, rules.epochs * data.by_error * found.tau_s * give, data.price_by_error_w)
        by_medium_w = sent.seconds_by_medium * give
        error, slope = _error(block, found)
        totals = Totals(
            error=float(error.sum()) + _dot(slope, data.by_price * lacking_w),
            use=float(sent.use.sum()) + _dot(sent.use_by_price, lacking_w),
            error_by_error=_dot(slope, data.by_error + data.by_price * by_error_w),
            error_by_medium=_dot(slope, data.by_medium + data.by_price * by_medium_w),
            use_by_error=_dot(sent.use_by_price, by_error_w),
            use_by_medium=float(sent.use_by_medium.sum()) + _dot(sent.use_by_price, by_medium_w),
        )
        kink_w = priced(block, price_error_j, 0.0).affordable_w
        side = _NOWHERE if kink_w is None else np.sign(found.price_w - kink_w).astype(np.int8)
    return totals, Place(found.price_w, lacking_w, by_error_w, by_medium_w, side)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of products, not by `@`: that starts threads of its own, which wait for processors that are taken."""
    return float((a * b).sum())


def _error(block: Block, found: Answer) -> tuple[np.ndarray, np.ndarray]:
    """What a target asks of the devices (N,), err or pooled the effective samples, and its slope in their samples."""
    rules = block.rules
    worth = learning_curve.effective_samples(block.local, found.data.samples, rules.eta)
    if rules.pooled:
        return worth, np.full_like(worth, rules.eta)
    above = rules.alpha * np.exp(-rules.beta * np.log(worth))
    slope = np.where(found.data.by_error > 0, above / worth * (-rules.beta * rules.eta), 0.0)
    return above + rules.gamma, slope


def _moved_points(block: Block, found: Answer, place: Place, move: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """(samples, compute_s, upload_s, use), each (N,), with all slopes followed."""
    sent, data, (by_error, by_medium) = found.sent, found.data, move
    with np.errstate(all="ignore"):
        shift_w = place.lacking_w + place.by_error_w * by_error + place.by_medium_w * by_medium
        samples = data.samples + data.by_price * shift_w + data.by_error * by_error + data.by_medium * by_medium
        upload_s = sent.seconds + sent.seconds_by_price * shift_w + sent.seconds_by_medium * by_medium
        use = sent.use + sent.use_by_price * shift_w + sent.use_by_medium * by_medium
        hurried_s = np.maximum(block.rules.round_s - upload_s, 0.0)
        compute_s = np.where(found.price_w > 0, hurried_s, block.rules.epochs * samples * found.tau_s)
    return samples, compute_s, upload_s, use


def _bounds(block: Block, found: Answer, price_error_j: float) -> np.ndarray:
    """What no answer to the prices of the devices (N,) costs less than, in joules with everything priced."""
    rules = block.rules
    with np.errstate(all="ignore"):
        bound_j = found.sent.priced_j - found.price_w * rules.round_s
        if rules.pooled:  # linear in the samples: the least is at one end, wherever a kink is taken to be
            net_j = rules.epochs * (found.priced_j - rules.gain_j(price_error_j))
            known = block.local * ((1.0 - rules.eta) * rules.slope * price_error_j / rules.count)
            return bound_j + np.minimum(block.local * net_j, block.most * net_j) - known
        bound_j = bound_j + rules.epochs * found.data.samples * found.priced_j
        if price_error_j > 0:
            bound_j = bound_j + price_error_j / rules.count * _error(block, found)[0]
    return bound_j
