"""A block's best answers to the prices of error and medium: for every device the price of a second of its round.

Computing and uploading share the seconds of the round. Priced at nu joules a second the two sides come apart and each
is a closed form; the price is right where the time is just used up (or 0 where it is not). For *any* nu >= 0 the value
is a lower bound on the device's least cost. The price is sought by Newton's method on ln(scale + nu), on which the time
used is nearly a power law, inside a bracket; devices that are there stay where they are. At a kink of a table all times
between two ends cost the same, and the search ends on the kink itself: that is time sharing, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.plan.blocks import Block
from server.plan.taking import take
from server.plan.upload_sides import Sent

_STRIDE = 3.0  # e-folds that one step may go
_HIGHEST = 1e30  # scales: a price at which nobody waits
_STEPS = 200


@dataclass(frozen=True)
class Answer:
    """The minimisers at prices, arrays (N,): nu, ln of the worth in samples and its bounds kept, busy seconds from
    quick_s to slow_s, joules a sample with time paid, what is sent; slopes of samples in nu and in ln lambda, and of
    all the time used in nu."""

    price_w: np.ndarray
    log_worth: np.ndarray
    samples: np.ndarray
    quick_s: np.ndarray
    slow_s: np.ndarray
    priced_j: np.ndarray
    samples_by_price: np.ndarray
    samples_by_error: np.ndarray
    used_by_price: np.ndarray
    sent: Sent

    def put(self, rows: np.ndarray, other: Answer) -> None:
        """Writes the answers of the devices `rows` over those of this value."""
        for name, column in vars(other).items():
            if name != "sent":
                getattr(self, name)[rows] = column
        self.sent.put(rows, other.sent)


def answer(block: Block, price_w: np.ndarray, price_error_j: float, price_medium_j: float) -> Answer:
    """The minimisers of E + lambda/I*err + mu*use + nu*(t + s - T) at nu = price_w (N,) >= 0, lambda, mu >= 0.

    The derivative in D vanishes at x = (lambda*alpha*beta*eta / (I*n*priced))**(1/(1+beta)) effective samples.
    """
    rules = block.rules
    pace = block.compute.at(price_w)
    log_gain = rules.log_gain + np.log(price_error_j / rules.count)
    wanted = (log_gain - np.log(pace.priced_j)) * (1.0 / (1.0 + rules.beta))
    log_worth = np.clip(wanted, block.log_least, block.log_most)
    worth = np.exp(log_worth)
    samples = np.clip(block.local + (worth - block.local) * (1.0 / rules.eta), block.local, block.most)
    samples = np.where(wanted >= block.log_most, block.most, samples)  # a logarithm's rounding must not take any away
    free = wanted == log_worth
    by_error = np.where(free, worth * (1.0 / (rules.eta * (1.0 + rules.beta))), 0.0)
    by_price = np.where(free, -by_error * pace.quick_s / pace.priced_j, 0.0)
    sent = block.upload.at(price_w, price_medium_j)
    trained = rules.epochs * samples
    quick_s = trained * pace.quick_s
    return Answer(
        price_w,
        log_worth,
        samples,
        quick_s,
        quick_s if pace.slow_s is pace.quick_s else trained * pace.slow_s,
        pace.priced_j,
        by_price,
        by_error,
        rules.epochs * (by_price * pace.quick_s + samples * pace.by_price) + sent.seconds_by_price,
        sent,
    )


def search(block: Block, price_w: np.ndarray, price_error_j: float, price_medium_j: float, near: float) -> Answer:
    """The answers at the prices of a second at which the time used is that of the round to `near` (relative), or at
    nu = 0 where less is used; `price_w` (N,) is where to start."""
    unknown = np.full(len(block), -1.0), np.full(len(block), np.inf)
    return _search(block, price_w, (price_error_j, price_medium_j), near, unknown, 0)


def _search(
    block: Block,
    price_w: np.ndarray,
    prices: tuple[float, float],
    near: float,
    bracket: tuple[np.ndarray, np.ndarray],
    steps: int,
) -> Answer:
    low, high = bracket
    found = answer(block, price_w, *prices)
    while True:
        excess = log_excess(block, found)
        over = excess > 0
        open_ = np.where(over, excess > near, (excess < -near) & (found.price_w > 0))
        open_ &= ((high == np.inf) | (high - low > 1e-15 * high)) & (found.price_w < _HIGHEST * block.scale_w)
        steps += 1
        rows = np.flatnonzero(open_)
        if not len(rows) or steps > _STEPS:
            return found
        low, high = np.where(over, found.price_w, low), np.where(over, high, found.price_w)
        target = _target(block, found, excess, low, high, steps % 5 == 0)
        if len(rows) > 0.7 * len(block):
            found = answer(block, np.where(open_, target, found.price_w), *prices)
            continue
        inner = _search(take(block, rows), target[rows], prices, near, (low[rows], high[rows]), steps)
        found.put(rows, inner)
        return found


def log_excess(block: Block, found: Answer) -> np.ndarray:
    """ln of the time used over that of the round (N,); 0 where it may be either."""
    sent_s, round_s = found.sent.seconds, block.rules.round_s
    quick, slow = found.quick_s + sent_s, found.slow_s + sent_s
    return np.log(np.clip(round_s, quick, slow) * (1.0 / round_s))


def _target(
    block: Block, found: Answer, excess: np.ndarray, low: np.ndarray, high: np.ndarray, halve: bool
) -> np.ndarray:
    """Where to look next: Newton's step, or the middle of the bracket where that leaves it, or a kink on the way."""
    price_w, scale_w = found.price_w, block.scale_w
    used = block.rules.round_s * np.exp(excess)
    step = excess * used / (np.maximum(-found.used_by_price, 1e-300) * (scale_w + price_w))
    step = np.where(np.isfinite(step) & (step != 0), step, np.copysign(_STRIDE, excess))
    target = moved(block, price_w, np.clip(step, -_STRIDE, _STRIDE))
    limited = np.clip(target, np.nextafter(low, np.inf), np.nextafter(high, 0.0))
    astray = target != limited
    if halve:
        astray |= (low >= 0) & (high < np.inf)
    target, stopped = block.compute.stop(price_w, limited)
    astray[stopped] = False
    rows = np.flatnonzero(astray)
    if len(rows):
        scale = scale_w[rows]
        ends = np.maximum(low[rows], 0.0), np.minimum(high[rows], (scale + price_w[rows]) * np.exp(2 * _STRIDE))
        target[rows] = np.sqrt((scale + ends[0]) * (scale + ends[1])) - scale
    return target


def moved(block: Block, price_w: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Prices (N,) that lie `step` (N,) e-folds of scale + nu away, at least 0."""
    return np.maximum(price_w + (block.scale_w + price_w) * np.expm1(step), 0.0)
