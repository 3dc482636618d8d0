"""Radios on a cell's band, for candidates (P, M): how they share it at a price of a hertz within given seconds.

With L nats to send, c the noise density over the gain, W watts of overhead and x = L/(b*s), the derivatives of the
drawn joules E = (c/eff)*b*s*(e**x - 1) + W*s are dE/db = -(c*s/eff)*h(x) and dE/ds = W - (c*b/eff)*h(x).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from models import radio
from server.plan.cubic import MOST_X
from server.plan.fleet import Fleet
from server.plan.upload_laws import inside, log_spread, on_band, on_power


@dataclass(frozen=True)
class Channels:
    """Coefficients (M,) of radios: L in nats, c in W/Hz, the (largest) radiated watts, efficiency, overhead watts, the
    whole band in hertz, and x with the whole band at full power: less is not to be had."""

    nats: np.ndarray
    noise: np.ndarray
    power: np.ndarray
    efficiency: np.ndarray
    overhead_w: np.ndarray
    band: np.ndarray
    least_x: np.ndarray

    @classmethod
    def of(cls, fleet: Fleet, mask: np.ndarray) -> Channels:
        """Those of the radios in mask (I,)."""
        links, band = fleet.links, np.full(int(mask.sum()), fleet.capacity)
        noise, power = links.noise_w_per_hz[mask], links.power_w[mask]
        least_x = np.log1p(power / (noise * band))
        nats = fleet.upload_bits[mask] * radio.LN2
        return cls(nats, noise, power, links.efficiency[mask], links.overhead_w[mask], band, least_x)

    def take(self, chosen: np.ndarray) -> Channels:
        """The channels with these indices, in their order."""
        return replace(self, **{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def fastest_s(self) -> np.ndarray:
        """Seconds (M,) with the whole band at full power."""
        return self.nats / (self.band * self.least_x)

    def x(self, upload_s: np.ndarray, band_hz: np.ndarray) -> np.ndarray:
        return np.minimum(self.nats / (band_hz * upload_s), MOST_X)

    def least_use(self, upload_s: np.ndarray) -> np.ndarray:
        """Hertz (P, M) with which full power just ends in time: (e**x - 1)/x = p*s/(c*L), which must exceed 1."""
        ratio = self.power * upload_s / (self.noise * self.nats)
        x = np.maximum(log_spread.of(np.log(np.maximum(ratio, 1.0))), self.least_x)
        return np.minimum(self.nats / (upload_s * x), self.band)

    def at_power(self, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(s, b), each (P, M): the least of p/eff*s + W*s + price*b at full power, on at most the whole band."""
        drawn_w = self.power / self.efficiency + self.overhead_w
        x = np.maximum(on_power.of(price * self.power**2 / (self.noise**2 * self.nats * drawn_w)), self.least_x)
        band_hz = np.where(x > self.least_x, self.power / (self.noise * np.expm1(x)), self.band)
        return self.nats / (band_hz * x), band_hz

    def freed(self, upload_s: np.ndarray, band_hz: np.ndarray) -> np.ndarray:
        """Hertz (P, M) that a second more sets free at full power: b*x*e**x/(s*h(x))."""
        x = self.x(upload_s, band_hz)
        return band_hz * x / (upload_s * radio.expm1_gap(x) * np.exp(-x))


class FixedPower:
    """The power is what it is: an upload ends as soon as its band allows."""

    def __init__(self, fleet: Fleet):
        self.rows = np.flatnonzero(fleet.links.fixed_power)
        self.channels = Channels.of(fleet, fleet.links.fixed_power)
        self.drawn_w = self.channels.power / self.channels.efficiency

    def shares(self, price: np.ndarray, upload_s: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        taken_s, band_hz = self.channels.at_power(price)
        late = taken_s > upload_s
        return np.where(late, upload_s, taken_s), np.where(late, least, band_hz)

    def sending_j(self, upload_s: np.ndarray, _use: np.ndarray) -> np.ndarray:
        return self.drawn_w * upload_s

    def slope(self, price: np.ndarray, upload_s: np.ndarray, use: np.ndarray, _least: np.ndarray) -> np.ndarray:
        return self.drawn_w + self.channels.overhead_w - price * self.channels.freed(upload_s, use)


class Scheduled:
    """The device chooses its power, up to a limit."""

    def __init__(self, fleet: Fleet):
        self.rows = np.flatnonzero(fleet.links.scheduled)
        self.channels = Channels.of(fleet, fleet.links.scheduled)

    def shares(self, price: np.ndarray, upload_s: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All of the time where a second more would still save joules, else the best shorter time.

        Priced joules at the best b are convex in s, so their slope at the end of the time tells which.
        """
        on = self.channels
        x = on_band.of(on.efficiency * price / (on.noise * upload_s))
        band_hz = np.clip(on.nats / (x * upload_s), least, on.band)
        taken_s = upload_s.copy()
        early = (self.slope(price, upload_s, band_hz, least) > 0) & (on.overhead_w > 0)
        if early.any():
            row, column = np.nonzero(early)
            best_s, best_hz = _soonest(on.take(column), price[row, 0])
            taken_s[early], band_hz[early] = np.minimum(best_s, upload_s[early]), best_hz
        return taken_s, band_hz

    def sending_j(self, upload_s: np.ndarray, use: np.ndarray) -> np.ndarray:
        return _radiated_j(self.channels, upload_s, use) / self.channels.efficiency

    def slope(self, price: np.ndarray, upload_s: np.ndarray, use: np.ndarray, least: np.ndarray) -> np.ndarray:
        """W - (c*b/eff)*h(x), and on the power limit also the price of the hertz that a second more sets free."""
        on = self.channels
        gap = on.noise / on.efficiency * radio.expm1_gap(on.x(upload_s, use))
        slope = on.overhead_w - gap * use
        worth = np.maximum(price - gap * upload_s, 0.0)
        return np.where(use <= least * (1 + 1e-12), slope - worth * on.freed(upload_s, use), slope)


def _soonest(on: Channels, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s, b), each (M,), at a price (M,) where time is not short: h(x)**2/x = W*mu*eff**2/(c**2*L), or at a limit."""
    x = inside.of(on.overhead_w * price * on.efficiency**2 / (on.noise**2 * on.nats))
    band_hz, upload_s = np.sqrt(on.nats * on.overhead_w / (x * price)), np.sqrt(on.nats * price / (x * on.overhead_w))
    beyond = (band_hz > on.band) | (on.noise * band_hz * np.expm1(x) > on.power)
    if beyond.any():
        upload_s[beyond], band_hz[beyond] = _at_limits(on.take(beyond), price[beyond])
    return upload_s, band_hz


def _at_limits(on: Channels, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The better of: the whole band at no more than full power; full power on no more than the whole band."""
    x = np.minimum(on_band.of(on.efficiency * on.overhead_w / (on.noise * on.band)), on.least_x)
    wide_s, (loud_s, loud_hz) = on.nats / (on.band * x), on.at_power(price)
    wide, loud = (
        _radiated_j(on, s, b) / on.efficiency + on.overhead_w * s + price * b
        for s, b in ((wide_s, on.band), (loud_s, loud_hz))
    )
    return np.where(wide <= loud, wide_s, loud_s), np.where(wide <= loud, on.band, loud_hz)


def _radiated_j(on: Channels, upload_s: np.ndarray, band_hz: np.ndarray) -> np.ndarray:
    return radio.tx_power_w(on.nats / radio.LN2, band_hz, upload_s, on.noise) * upload_s
