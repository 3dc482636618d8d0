"""A block's best answers to the prices of error and medium: for every device the price of a second of its round.

Computing and uploading share the seconds of the round. Priced at nu joules a second the two sides come apart and each
is a closed form; the price is right where the time is just used up (or 0 where it is not). For *any* nu >= 0 the value
is a lower bound on the device's least cost. The price is sought by Newton's method on ln(scale + nu), on which the time
used is nearly a power law, inside a bracket; devices that are there stay where they are.

At a kink of a table all times between two ends cost the same, and the search ends on the kink itself: that is time
sharing, exactly. A pooled target, which pays the same for every sample, adds one kink: the price of a second at which a
sample is worth its joules. Below it a device trains all it can hold, above it its local samples, and on it as many as
the round has time for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.plan.blocks import Block
from server.plan.compute_sides import Pace
from server.plan.taking import take
from server.plan.upload_sides import Sent

_STRIDE = 3.0  # e-folds that one step may go
_HIGHEST = 1e30  # scales: a price at which nobody waits
_STEPS = 200


@dataclass(frozen=True)
class Prices:
    """lambda and mu, and what pooled devices (N,) can afford for a second; None where the target is not pooled."""

    error_j: float
    medium_j: float
    affordable_w: np.ndarray | None


@dataclass(frozen=True)
class Data:
    """Samples at prices, arrays (N,): those taken, and the fewest and the most that cost the same; slopes in nu, in
    ln lambda and in ln mu; and how nu itself follows ln lambda where it stays on the kink of a pooled target."""

    samples: np.ndarray
    fewest: np.ndarray
    most: np.ndarray
    by_price: np.ndarray
    by_error: np.ndarray
    by_medium: np.ndarray
    price_by_error_w: np.ndarray


@dataclass(frozen=True)
class Answer:
    """The minimisers at prices, arrays (N,): nu, samples, seconds a sample and joules with time paid, busy seconds from
    quick_s to slow_s (apart at kinks only), what is sent; and the slope of all the time used in nu."""

    price_w: np.ndarray
    data: Data
    tau_s: np.ndarray
    priced_j: np.ndarray
    quick_s: np.ndarray
    slow_s: np.ndarray
    used_by_price: np.ndarray
    sent: Sent

    def put(self, rows: np.ndarray, other: Answer) -> None:
        """Writes the answers of the devices `rows` over those of this value."""
        for name, column in vars(other).items():
            if isinstance(column, np.ndarray):
                getattr(self, name)[rows] = column
        for name, column in vars(other.data).items():
            getattr(self.data, name)[rows] = column
        self.sent.put(rows, other.sent)


def priced(block: Block, price_error_j: float, price_medium_j: float) -> Prices:
    """The prices lambda, mu >= 0 as the devices of a block see them."""
    affordable_w = None
    if block.rules.pooled:
        affordable_w = block.compute.affordable_w(block.rules.gain_j(price_error_j))
    return Prices(price_error_j, price_medium_j, affordable_w)


def answer(block: Block, price_w: np.ndarray, prices: Prices) -> Answer:
    """The minimisers of E + lambda/I*loss + mu*use + nu*(t + s - T) at nu = price_w (N,) >= 0."""
    pace = block.compute.at(price_w)
    sent = block.upload.at(price_w, prices.medium_j)
    if prices.affordable_w is None:
        data = _own_data(block, pace, prices.error_j)
    else:
        data = _pooled_data(block, pace, sent, price_w, prices.affordable_w)
    epochs = block.rules.epochs
    alike = data.fewest is data.most and pace.quick_s is pace.slow_s  # never at a kink
    quick_s = epochs * data.fewest * pace.quick_s
    return Answer(
        price_w,
        data,
        pace.quick_s,
        pace.priced_j,
        quick_s,
        quick_s if alike else epochs * data.most * pace.slow_s,
        epochs * (data.by_price * pace.quick_s + data.samples * pace.by_price) + sent.seconds_by_price,
        sent,
    )


def _own_data(block: Block, pace: Pace, price_error_j: float) -> Data:
    """Each device's own error: the derivative in D vanishes at x = (lambda*alpha*beta*eta / (I*n*priced))**(1/(1+beta))
    effective samples."""
    rules = block.rules
    log_gain = rules.log_gain + np.log(price_error_j / rules.count)
    wanted = (log_gain - np.log(pace.priced_j)) * (1.0 / (1.0 + rules.beta))
    log_worth = np.clip(wanted, block.log_least, block.log_most)
    worth = np.exp(log_worth)
    samples = np.clip(block.local + (worth - block.local) * (1.0 / rules.eta), block.local, block.most)
    samples = np.where(wanted >= block.log_most, block.most, samples)  # a logarithm's rounding must not take any away
    free = wanted == log_worth
    by_error = np.where(free, worth * (1.0 / (rules.eta * (1.0 + rules.beta))), 0.0)
    by_price = np.where(free, -by_error * pace.quick_s / pace.priced_j, 0.0)
    none = np.zeros_like(samples)
    return Data(samples, samples, samples, by_price, by_error, none, none)


def _pooled_data(block: Block, pace: Pace, sent: Sent, price_w: np.ndarray, affordable_w: np.ndarray) -> Data:
    """All that can be held below the price that a sample affords, the local ones above; on it, what there is time for.

    There nu follows lambda, d nu = priced/tau * d ln lambda, and D = (T - s)/(n*tau) follows nu and mu.
    """
    rules = block.rules
    most = np.where(price_w <= affordable_w, block.most, block.local)
    fewest, samples = most.copy(), most.copy()
    none, by_price, by_medium, follow_w = (np.zeros_like(most) for _ in range(4))
    on = np.flatnonzero(price_w == affordable_w)
    local, tau_s = block.local[on], pace.quick_s[on]
    fits = (rules.round_s - sent.seconds[on]) / (rules.epochs * tau_s)
    fewest[on] = local
    samples[on] = np.clip(fits, local, block.most[on])
    inner = samples[on] == fits
    trained_s = rules.epochs * tau_s
    slope = -(sent.seconds_by_price[on] / trained_s + fits * pace.by_price[on] / tau_s)
    by_price[on] = np.where(inner, slope, 0.0)
    by_medium[on] = np.where(inner, -sent.seconds_by_medium[on] / trained_s, 0.0)
    follow_w[on] = np.where(inner, pace.priced_j[on] / tau_s, 0.0)
    return Data(samples, fewest, most, by_price, none, by_medium, follow_w)


def search(block: Block, price_w: np.ndarray, prices: Prices, near: float) -> Answer:
    """The answers at the prices of a second at which the time used is that of the round to `near` (relative), or at
    nu = 0 where less is used; `price_w` (N,) is where to start."""
    unknown = np.full(len(block), -1.0), np.full(len(block), np.inf)
    return _search(block, price_w, prices, near, unknown, 0)


def _search(
    block: Block,
    price_w: np.ndarray,
    prices: Prices,
    near: float,
    bracket: tuple[np.ndarray, np.ndarray],
    steps: int,
) -> Answer:
    low, high = bracket
    found = answer(block, price_w, prices)
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
        halve = steps % 5 == 0
        if len(rows) > 0.7 * len(block):
            target = _target(block, _Tried(found.price_w, found.used_by_price, excess), prices, (low, high), halve)
            found = answer(block, np.where(open_, target, found.price_w), prices)
            continue
        few, some, bracket = take(block, rows), take(prices, rows), (low[rows], high[rows])
        tried = _Tried(found.price_w[rows], found.used_by_price[rows], excess[rows])
        target = _target(few, tried, some, bracket, halve)
        found.put(rows, _search(few, target, some, near, bracket, steps))
        return found


def log_excess(block: Block, found: Answer) -> np.ndarray:
    """ln of the time used over that of the round (N,); 0 where it may be either."""
    sent_s, round_s = found.sent.seconds, block.rules.round_s
    quick, slow = found.quick_s + sent_s, found.slow_s + sent_s
    return np.log(np.clip(round_s, quick, slow) * (1.0 / round_s))


@dataclass(frozen=True)
class _Tried:
    """Prices of a second (N,) that were asked, the slope of the time used there, and its log over that of the round."""

    price_w: np.ndarray
    used_by_price: np.ndarray
    excess: np.ndarray


def _target(
    block: Block,
    tried: _Tried,
    prices: Prices,
    bracket: tuple[np.ndarray, np.ndarray],
    halve: bool,
) -> np.ndarray:
    """Where to look next: Newton's step, or the middle of the bracket where that leaves it, or a kink on the way."""
    (low, high), price_w, excess, scale_w = bracket, tried.price_w, tried.excess, block.scale_w
    used = block.rules.round_s * np.exp(excess)
    step = excess * used / (np.maximum(-tried.used_by_price, 1e-300) * (scale_w + price_w))
    step = np.where(np.isfinite(step) & (step != 0), step, np.copysign(_STRIDE, excess))
    target = moved(block, price_w, np.clip(step, -_STRIDE, _STRIDE))
    limited = np.clip(target, np.nextafter(low, np.inf), np.nextafter(high, 0.0))
    astray = target != limited
    if halve:
        astray |= (low >= 0) & (high < np.inf)
    target, stopped = stop(block, price_w, limited, prices)
    astray[stopped] = False
    rows = np.flatnonzero(astray)
    if len(rows):
        scale = scale_w[rows]
        ends = np.maximum(low[rows], 0.0), np.minimum(high[rows], (scale + price_w[rows]) * np.exp(2 * _STRIDE))
        target[rows] = np.sqrt((scale + ends[0]) * (scale + ends[1])) - scale
    return target


def stop(block: Block, price_w: np.ndarray, target_w: np.ndarray, prices: Prices) -> tuple[np.ndarray, np.ndarray]:
    """A kink on the way from prices to targets (N,), the target where there is none; and who is stopped (M,)."""
    target_w, stopped = block.compute.stop(price_w, target_w)
    if prices.affordable_w is None:
        return target_w, stopped
    kink_w = prices.affordable_w
    crossed = (kink_w >= 0) & ((price_w < kink_w) & (kink_w < target_w) | (price_w > kink_w) & (kink_w > target_w))
    rows = np.flatnonzero(crossed)
    if len(rows):
        target_w = target_w.copy()
        target_w[rows] = kink_w[rows]
    return target_w, np.concatenate([stopped, rows])


def moved(block: Block, price_w: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Prices (N,) that lie `step` (N,) e-folds of scale + nu away, at least 0."""
    return np.maximum(price_w + (block.scale_w + price_w) * np.expm1(step), 0.0)
