"""The bandwidth sub-problem: the least upload energy at given upload times under the band.

Given the seconds s within which every device must have sent its bits, share the medium: minimise sum E_com subject to
sum of use <= capacity and the power limits, where an upload that costs joules a second may end early. One price of the
medium, mu, takes the devices apart. All of it is done for a whole generation of candidates, arrays (P, I).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import radio
from server.plan.fleet import Fleet
from server.plan.search.cell import FixedPower, Scheduled
from server.plan.search.multiplier import SLACK, log_prices_where


@dataclass(frozen=True)
class BandAnswer:
    """upload_s, use (P, I) of the medium (hertz, or parts of a shared link; 0 for a wire), joules (P, I);
    price_medium_j (P,) is mu; `reached` (P,) whether the medium suffices at all."""

    upload_s: np.ndarray
    use: np.ndarray
    joules: np.ndarray
    price_medium_j: np.ndarray
    reached: np.ndarray


class BandStep:
    """The sub-problem for one fleet; remembers the last price as the next guess."""

    def __init__(self, fleet: Fleet):
        self.fleet = fleet
        kinds: list[Kind] = [Scheduled(fleet), FixedPower(fleet), SharedLink(fleet)]
        self.kinds = [kind for kind in kinds if len(kind.rows)]
        self.wired = fleet.links.wired
        self._guess: float | None = None

    def fastest_s(self) -> np.ndarray:
        """Seconds (I,) of the fastest upload: with all of the medium and at full power."""
        fleet = self.fleet
        seconds = np.array(radio.wired_seconds(fleet.upload_bits, fleet.links.rate_bits_per_s))
        for kind in self.kinds:
            seconds[kind.rows] = kind.channels.fastest_s()
        return seconds

    def least_use(self, upload_s: np.ndarray) -> np.ndarray:
        """(P, I) of the medium without which upload_s (P, I) cannot be kept."""
        use = np.zeros_like(upload_s)
        for kind in self.kinds:
            use[:, kind.rows] = kind.channels.least_use(upload_s[:, kind.rows])
        return use

    def log_use(self, use: np.ndarray) -> np.ndarray:
        """ln of all use over the capacity, (P,); <= 0 where the medium suffices."""
        if not self.kinds:
            return np.full(len(use), -np.inf)
        return np.log(use.sum(axis=1) / self.fleet.capacity)

    def solve(self, upload_s: np.ndarray) -> BandAnswer:
        """The best shares when uploads end within upload_s (P, I) >= fastest; the least shares where not `reached`."""
        count = len(upload_s)
        taken_s, use, price = upload_s.copy(), self.least_use(upload_s), np.zeros(count)
        least = use.copy()
        reached = self.log_use(least) <= SLACK
        rows = np.flatnonzero(reached) if self.kinds else np.zeros(0, dtype=np.int64)
        if len(rows):

            def shares(log_price: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                return self._shares(np.exp(log_price), upload_s[rows[chosen]], least[rows[chosen]])

            guess = self._scale(upload_s[rows], least[rows]) if self._guess is None else self._guess
            _, log_price = log_prices_where(
                lambda at, chosen: self.log_use(shares(at, chosen)[1]), np.full(len(rows), guess)
            )
            self._guess = float(np.median(log_price))
            price[rows] = np.exp(log_price)
            taken_s[rows], use[rows] = shares(log_price, np.arange(len(rows)))
            edge = self.log_use(use) > SLACK  # only at the very edge, where the price has no end
            taken_s[edge], use[edge] = upload_s[edge], least[edge]
        return BandAnswer(taken_s, use, self.joules(taken_s, use), price, reached)

    def _shares(self, price: np.ndarray, upload_s: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(upload_s, use), each (R, I), that every device answers to a price (R,) of the medium."""
        taken_s, use = upload_s.copy(), np.zeros_like(upload_s)
        for kind in self.kinds:
            rows = kind.rows
            taken_s[:, rows], use[:, rows] = kind.shares(price[:, None], upload_s[:, rows], least[:, rows])
        return taken_s, use

    def joules(self, upload_s: np.ndarray, use: np.ndarray) -> np.ndarray:
        """E_com (P, I) from the numbers alone."""
        total = self.fleet.links.overhead_w * upload_s
        for kind in self.kinds:
            total[:, kind.rows] += kind.sending_j(upload_s[:, kind.rows], use[:, kind.rows])
        return total

    def slopes(self, answer: BandAnswer, upload_s: np.ndarray) -> np.ndarray:
        """d(least energy)/ds (P, I) <= 0 in watts, by the envelope theorem; 0 where the upload ends early."""
        slope = np.zeros_like(upload_s)
        price, least = answer.price_medium_j[:, None], self.least_use(upload_s)
        for kind in self.kinds:
            rows = kind.rows
            slope[:, rows] = kind.slope(price, upload_s[:, rows], answer.use[:, rows], least[:, rows])
        early = answer.upload_s < upload_s * (1 - 1e-12)
        return np.where(early, 0.0, np.minimum(slope, 0.0))

    def _scale(self, upload_s: np.ndarray, least: np.ndarray) -> float:
        """ln mu of the order of joules over medium."""
        spread = self.fleet.capacity / least.sum(axis=1, keepdims=True)
        total = self.joules(upload_s, least * spread).sum(axis=1)
        return float(np.log(max(float(np.median(total)), 1e-300) / self.fleet.capacity))


class SharedLink:
    """A medium of fixed rates: an upload of s seconds holds (seconds alone)/s of it."""

    def __init__(self, fleet: Fleet):
        links = fleet.links
        self.rows = np.flatnonzero(links.shared)
        self.channels = self
        self.alone_s = radio.wired_seconds(fleet.upload_bits[self.rows], links.rate_bits_per_s[self.rows])
        self.sending = links.power_w[self.rows] / links.efficiency[self.rows] * self.alone_s
        self.overhead_w = links.overhead_w[self.rows]

    def fastest_s(self) -> np.ndarray:
        return self.alone_s

    def least_use(self, upload_s: np.ndarray) -> np.ndarray:
        return self.alone_s / upload_s

    def shares(self, price: np.ndarray, upload_s: np.ndarray, _least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """s = sqrt(mu*alone/W), from all of the link to the time there is."""
        paid, free = self.overhead_w > 0, np.full(np.broadcast_shapes(price.shape, self.alone_s.shape), np.inf)
        best_s = np.sqrt(np.divide(price * self.alone_s, self.overhead_w, out=free, where=paid))
        taken_s = np.clip(best_s, self.alone_s, upload_s)
        return taken_s, self.alone_s / taken_s

    def sending_j(self, upload_s: np.ndarray, _use: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.sending, upload_s.shape)

    def slope(self, price: np.ndarray, upload_s: np.ndarray, _use: np.ndarray, _least: np.ndarray) -> np.ndarray:
        return self.overhead_w - price * self.alone_s / upload_s**2


Kind = Scheduled | FixedPower | SharedLink
