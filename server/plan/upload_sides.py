"""The upload of devices of one kind of radio when a second costs `price_w` joules and the medium `price_medium_j`.

A side holds the coefficients of N devices, arrays (N,), and answers with the cheapest upload and how it moves with
both prices. W is what is paid per second: overhead_w and the price. The least priced joules U(W, mu) have the slopes
dU/dW = s and dU/dmu = use of the medium.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from server.plan.taking import take
from server.plan.upload_laws import inside, on_band, on_power

_FOREVER = 1e9  # rounds: the upload of a device that has no reason to end it
_NOTHING = 1e-300


@dataclass(frozen=True)
class Sent:
    """The cheapest uploads, arrays (N,): seconds, use of the medium (hertz, or parts of a shared link) and joules with
    the prices of both; `.._by_price` are slopes in nu (1/W), `.._by_medium` in ln mu."""

    seconds: np.ndarray
    use: np.ndarray
    priced_j: np.ndarray
    seconds_by_price: np.ndarray
    seconds_by_medium: np.ndarray
    use_by_price: np.ndarray
    use_by_medium: np.ndarray

    def put(self, rows: np.ndarray, other: Sent) -> None:
        """Writes the answers of the devices `rows` over those of this value."""
        for name, column in vars(other).items():
            getattr(self, name)[rows] = column


class UploadSide(Protocol):
    """Radios of one kind."""

    @property
    def overhead_w(self) -> np.ndarray:
        """What a radio draws besides the transmitter (N,), on the basis."""
        ...

    def at(self, price_w: np.ndarray, price_medium_j: float) -> Sent:
        """The cheapest uploads at nu = price_w (N,) >= 0 and mu >= 0."""
        ...


@dataclass(frozen=True)
class Wired:
    """A link of one's own: seconds (N,)."""

    seconds: np.ndarray
    overhead_w: np.ndarray

    def at(self, price_w: np.ndarray, _price_medium_j: float) -> Sent:
        none = np.zeros_like(price_w)
        priced = (self.overhead_w + price_w) * self.seconds
        return Sent(self.seconds.copy(), none, priced, none, none, none, none)


@dataclass(frozen=True)
class SharedLink:
    """Turns on one medium: `alone_s` (N,) with all of it, `sending_j` (N,) of the transmitter; at most `most_s`."""

    alone_s: np.ndarray
    sending_j: np.ndarray
    overhead_w: np.ndarray
    round_s: float

    def at(self, price_w: np.ndarray, price_medium_j: float) -> Sent:
        """s = sqrt(mu*S/(R*W)), from all of the link to twice the round (longer than any plan can use)."""
        watts = self.overhead_w + price_w
        unpaid_s = np.full_like(watts, np.inf if price_medium_j > 0 else 0.0)  # nothing is saved by more
        best_s = np.sqrt(np.divide(price_medium_j * self.alone_s, watts, out=unpaid_s, where=watts > 0))
        longest_s = np.maximum(self.alone_s, 2.0 * self.round_s)
        seconds = np.clip(best_s, self.alone_s, longest_s)
        use = self.alone_s / seconds
        free = (best_s > self.alone_s) & (best_s < longest_s)
        by_medium = np.where(free, 0.5 * seconds, 0.0)
        paid = np.where(free, watts, 1.0)
        share_by_medium = np.where(free, -0.5 * use, 0.0)
        return Sent(
            seconds,
            use,
            self.sending_j + watts * seconds + price_medium_j * use,
            -by_medium / paid,
            by_medium,
            -share_by_medium / paid,
            share_by_medium,
        )


@dataclass(frozen=True)
class FixedPower:
    """All of `power_w` radiated, on at most the whole band: coefficients (N,), `least_x` with all of the band.

    Seconds and hertz depend on mu/(drawn watts) alone: twice the price of both changes nothing.
    """

    nats: np.ndarray
    noise_w_per_hz: np.ndarray
    power_w: np.ndarray
    drawn_w: np.ndarray  # of the transmitter: power over efficiency
    overhead_w: np.ndarray
    least_x: np.ndarray
    log_scale: np.ndarray  # ln(p**2 / (c**2 * L))
    band_hz: float

    def at(self, price_w: np.ndarray, price_medium_j: float) -> Sent:
        watts = self.drawn_w + self.overhead_w + price_w
        log_x, slope = on_power(self.log_scale + (np.log(price_medium_j) - np.log(np.maximum(watts, _NOTHING))))
        x = np.exp(log_x)
        free = x > self.least_x
        x = np.where(free, x, self.least_x)
        grown = np.expm1(x)
        use = np.where(free, self.power_w / (self.noise_w_per_hz * grown), self.band_hz)
        seconds = self.nats / (use * x)
        # d ln b / d ln mu = -slope * x * e**x / (e**x - 1), d ln s / d ln mu = -slope - d ln b / d ln mu
        slope = np.where(free, slope, 0.0)
        widening = slope * x * (1.0 + 1.0 / grown)
        use_by_medium = -widening * use
        seconds_by_medium = (widening - slope) * seconds
        return Sent(
            seconds,
            use,
            watts * seconds + price_medium_j * use,
            -seconds_by_medium / watts,
            seconds_by_medium,
            -use_by_medium / watts,
            use_by_medium,
        )


@dataclass(frozen=True)
class Scheduled:
    """Power and hertz both chosen, up to a limit each; `radiated_j` is c*L/eff, the least there is to radiate."""

    limit: FixedPower  # the same radios at full power
    log_nats: np.ndarray
    radiated_j: np.ndarray
    log_inside: np.ndarray  # ln(eff**2 / (c**2 * L))
    log_on_band: np.ndarray  # ln(eff / (c*B))
    round_s: float

    @property
    def overhead_w(self) -> np.ndarray:
        return self.limit.overhead_w

    def at(self, price_w: np.ndarray, price_medium_j: float) -> Sent:
        """Inside where that keeps both limits (it is then the least of all), else the better of the two limits.

        Where seconds cost nothing the least is not reached: ever longer on ever less band costs ever closer to c*L/eff.
        """
        watts = self.overhead_w + price_w
        log_w, log_mu = np.log(watts), np.log(price_medium_j)
        log_x, slope = inside(self.log_inside + (log_w + log_mu))
        x = np.exp(log_x)
        grown = np.expm1(x)
        seconds = np.exp(0.5 * (self.log_nats - log_x + (log_mu - log_w)))
        paid = watts * seconds  # as much as mu*b: both go with sqrt(mu*W)
        use = paid / price_medium_j if price_medium_j > 0 else np.full_like(watts, np.inf)
        fits = (use <= self.limit.band_hz) & (self.limit.noise_w_per_hz * use * grown <= self.limit.power_w)
        # d ln s / d ln mu = (1 - slope)/2 = 1 + d ln s / d ln W, and d ln b the other way round
        more, less = 0.5 - 0.5 * slope, -0.5 - 0.5 * slope
        found = Sent(
            seconds,
            use,
            self.radiated_j * (grown / x) + 2.0 * paid,
            less * seconds / watts,
            more * seconds,
            more * use / watts,
            less * use,
        )
        if not fits.all():
            rest = np.flatnonzero(~fits)
            found.put(rest, take(self, rest).at_limits(price_w[rest], price_medium_j))
        unpaid = np.flatnonzero(watts == 0)
        if len(unpaid):
            none = np.zeros(len(unpaid))
            forever = np.full(len(unpaid), _FOREVER * self.round_s)
            found.put(unpaid, Sent(forever, none, self.radiated_j[unpaid], none, none, none, none))
        return found

    def at_limits(self, price_w: np.ndarray, price_medium_j: float) -> Sent:
        """The whole band at less than full power where W*s >= mu*B (it would take more), else full power on no more
        than the whole band."""
        watts, band_hz = self.overhead_w + price_w, self.limit.band_hz
        log_x, slope = on_band(self.log_on_band + np.log(watts))
        x = np.exp(log_x)
        seconds = self.limit.nats / (band_hz * x)
        none = np.zeros_like(x)
        found = Sent(
            seconds,
            np.full_like(x, band_hz),
            self.radiated_j * (np.expm1(x) / x) + watts * seconds + price_medium_j * band_hz,
            -slope * seconds / watts,
            none,
            none.copy(),
            none.copy(),
        )
        full = np.flatnonzero((x >= self.limit.least_x) | (watts * seconds < price_medium_j * band_hz))
        if len(full):
            found.put(full, take(self.limit, full).at(price_w[full], price_medium_j))
        return found
