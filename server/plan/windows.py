"""What an upload costs when all it may have is a window of the round, and the medium has a price mu.

Seconds s are given; what is left to choose is how much of the medium to take:
  scheduled      b with h(x) = mu*eff/(c*s), x = L/(b*s), the root of dE/db = -mu; no less than full power needs
  fixed power    as little band as carries the bits in time
  shared link    the share S/(R*s)
A window longer than the upload that was planned need not be used up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models import radio
from server.plan.columnar import columns
from server.plan.fleet import Fleet
from server.plan.roots import falling_root
from server.plan.upload_laws import on_band, spread
from server.plan.upload_step import medium_use

_LATE = 1e-12  # relative: a window shorter than the quickest upload by no more than rounding
_NEAR = 1e-11  # of the medium: what sharing it out may leave
_FURTHEST = 60.0  # e-folds that its price may move


@dataclass(frozen=True)
class _Sent:
    """What uploads take and cost, arrays (M, W): hertz (0 where no band is taken), joules, use of the medium, and the
    slope of ln(use) in ln mu."""

    bandwidth_hz: np.ndarray
    joules: np.ndarray
    use: np.ndarray
    slope: np.ndarray


class Windows:
    """The uploads of a fleet's devices, planned to take `planned_s` (I,), at a price of the medium."""

    def __init__(self, fleet: Fleet, planned_s: np.ndarray, price_medium_j: float):
        self.fleet, self.planned_s, self.price_j = fleet, planned_s, price_medium_j

    def least(self, rows: np.ndarray, window_s: np.ndarray) -> np.ndarray:
        """The least priced joules (M, W) of the devices `rows` (M,) in windows (M, W); infinite in too short ones."""
        planned_s = np.broadcast_to(self.planned_s[rows, None], window_s.shape)
        there, then = self._priced(rows, window_s), self._priced(rows, planned_s)
        return np.where(window_s >= planned_s * (1 - _LATE), np.fmin(there, then), there)

    def shared(self, window_s: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Seconds and hertz (I,) of everybody's upload in windows (I,), at the price at which the medium is just used
        up; None where it does not suffice at any."""
        everybody = np.arange(len(self.fleet))
        there, then = (self._priced(everybody, seconds[:, None])[:, 0] for seconds in (window_s, self.planned_s))
        early = window_s >= self.planned_s * (1 - _LATE)
        seconds = np.where(early & ~(there < then), np.minimum(self.planned_s, window_s), window_s)

        def excess(log_price: float) -> tuple[float, float]:
            sent = self._sent(everybody, seconds[:, None], math.exp(log_price))
            used = float(sent.use.sum())
            return math.log(used / self.fleet.capacity), float((sent.use * sent.slope).sum()) / used

        price_j = self.price_j
        if price_j > 0 and self.fleet.links.scheduled.any():
            at = math.log(price_j)
            price_j = math.exp(falling_root(excess, at, _NEAR, at - _FURTHEST, at + _FURTHEST))
        band_hz = self._sent(everybody, seconds[:, None], price_j).bandwidth_hz[:, 0]
        fits = float(medium_use(self.fleet, seconds, band_hz).sum()) <= self.fleet.capacity
        return (seconds, band_hz) if fits else None

    def _priced(self, rows: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        sent = self._sent(rows, seconds, self.price_j)
        return sent.joules + self.price_j * sent.use

    def _sent(self, rows: np.ndarray, seconds: np.ndarray, price_medium_j: float) -> _Sent:
        """Uploads in exactly these seconds (M, W); too short ones cost infinitely much."""
        links, band_hz = self.fleet.links, np.zeros(seconds.shape)
        joules, use, slope = np.zeros(seconds.shape), np.zeros(seconds.shape), np.zeros(seconds.shape)
        with np.errstate(all="ignore"):
            for on, ask in ((links.banded, self._banded), (~links.banded, self._lined)):
                some = np.flatnonzero(on[rows])
                if len(some):
                    found = ask(rows[some], seconds[some], price_medium_j)
                    band_hz[some], joules[some], use[some], slope[some] = columns(found)
        return _Sent(band_hz, joules, use, slope)

    def _banded(self, rows: np.ndarray, seconds: np.ndarray, price_medium_j: float) -> _Sent:
        links, nats = self.fleet.links, self.fleet.upload_bits[rows, None] * radio.LN2
        chosen, power_w = links.scheduled[rows, None], links.power_w[rows, None]
        channel = (links.noise_w_per_hz[rows, None], links.efficiency[rows, None], links.overhead_w[rows, None])
        noise, efficiency, overhead_w = channel
        ratio = power_w * seconds / (noise * nats)
        enough = ratio > 1.0  # below that no band would do
        least_hz = np.where(enough, power_w / (noise * np.expm1(spread(np.where(enough, ratio, 2.0)))), np.inf)
        log_x, steep = on_band(np.log(price_medium_j * efficiency / (noise * np.where(enough, seconds, 1.0))))
        best_hz = nats / (np.exp(log_x) * seconds)
        capacity = self.fleet.capacity
        band_hz = np.where(chosen, np.clip(best_hz, least_hz, np.maximum(least_hz, capacity)), least_hz)
        sent_j = radio.scheduled_joules(nats / radio.LN2, band_hz, seconds, *channel)
        joules = np.where(chosen, sent_j, (power_w / efficiency + overhead_w) * seconds)
        free = chosen & (best_hz > least_hz) & (best_hz < capacity)
        return _Sent(band_hz, np.where(band_hz <= capacity, joules, np.inf), band_hz, np.where(free, -steep, 0.0))

    def _lined(self, rows: np.ndarray, seconds: np.ndarray, _price_medium_j: float) -> _Sent:
        links, bits, rate = (
            self.fleet.links,
            self.fleet.upload_bits[rows, None],
            self.fleet.links.rate_bits_per_s[rows, None],
        )
        shared, none = links.shared[rows, None], np.zeros(seconds.shape)
        alone_s = radio.wired_seconds(bits, rate)
        sending_w = np.where(shared, links.power_w[rows, None], 0.0)
        law = (sending_w, links.efficiency[rows, None], links.overhead_w[rows, None])
        joules = np.where(seconds < alone_s * (1 - _LATE), np.inf, radio.shared_joules(bits, seconds, rate, *law))
        return _Sent(none, joules, np.where(shared, alone_s / seconds, 0.0), none)
