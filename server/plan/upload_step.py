"""The upload side of a device when a second costs `price` joules and the medium costs `price_medium_j` joules.

Everything is written in x = L / (b*s), nats per second and hertz (L = bits * ln 2). Where a radio may choose both b and
s, the least priced joules lie at one of three places, each the root of a function of x that is the same for everyone:
  inside            h(x)**2 / x            = W * mu * eff**2 / (c**2 * L)
  on b = B          h(x)                   = eff * W / (c * B)
  on p = p_max      h(x)*(e**x-1)**2/(x**2*e**x) = mu * p**2 / (c**2 * L * (p/eff + W))
with h(x) = (x-1)*e**x + 1 and W the watts paid per second (overhead and price). A fixed power is the third alone. Those
functions are inverted once on a grid; Newton does the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models import radio
from server.plan.fleet import Fleet

_FOREVER = 1e9  # rounds: the upload of a device that has no reason to end it
_LOG_X = np.linspace(np.log(1e-14), np.log(600.0), 4000)


def _log_h(x: np.ndarray) -> np.ndarray:
    return np.where(x < 40.0, np.log(radio.expm1_gap(np.minimum(x, 40.0))), x + np.log(np.maximum(x, 2.0) - 1.0))


def _log_expm1(x: np.ndarray) -> np.ndarray:
    return x + np.log(-np.expm1(-x))


def _slope_log_h(x: np.ndarray) -> np.ndarray:
    return x * np.exp(x - _log_h(x))


def _slope_log_expm1(x: np.ndarray) -> np.ndarray:
    return -1.0 / np.expm1(-x)


class Inverse:
    """x from F(x) for a rising F whose logarithm and its slope are given: grid (to 1e-5), then Newton to rounding."""

    def __init__(self, log_f: Callable[[np.ndarray], np.ndarray], slope: Callable[[np.ndarray], np.ndarray]):
        self._log_f, self._slope = log_f, slope
        self._grid = log_f(np.exp(_LOG_X))

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """x in [1e-14, 600] with F(x) = value; values (N,) outside F's range get the nearer end."""
        with np.errstate(divide="ignore"):
            wanted = np.clip(np.log(value), self._grid[0], self._grid[-1])
        x = np.exp(np.interp(wanted, self._grid, _LOG_X))
        for _ in range(2):
            x = np.maximum(x - (self._log_f(x) - wanted) / self._slope(x), 0.5 * x)
        return x


inside = Inverse(lambda x: 2 * _log_h(x) - np.log(x), lambda x: 2 * _slope_log_h(x) - 1 / x)
on_band = Inverse(_log_h, _slope_log_h)
on_power = Inverse(
    lambda x: _log_h(x) + 2 * _log_expm1(x) - 2 * np.log(x) - x,
    lambda x: _slope_log_h(x) + 2 * _slope_log_expm1(x) - 2 / x - 1,
)
spread = Inverse(lambda x: _log_expm1(x) - np.log(x), lambda x: _slope_log_expm1(x) - 1 / x)


def cheapest_upload(
    fleet: Fleet, price_w: np.ndarray, price_medium_j: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(upload_s, bandwidth_hz, E_com + price*s + price_medium*use), each (I,); the use of the medium is in hertz or in
    parts of a shared link. price_w (I,) >= 0, price_medium_j >= 0."""
    count = len(fleet)
    upload_s, band_hz, priced = np.zeros(count), np.zeros(count), np.zeros(count)
    for mask, step in (
        (fleet.links.wired, _wired),
        (fleet.links.shared, _shared),
        (fleet.links.fixed_power, _fixed_power),
        (fleet.links.scheduled, _scheduled),
    ):
        if mask.any():
            upload_s[mask], band_hz[mask], priced[mask] = step(fleet, mask, price_w[mask], price_medium_j)
    return upload_s, band_hz, priced


Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def _wired(fleet: Fleet, mask: np.ndarray, price_w: np.ndarray, _price_medium_j: float) -> Found:
    upload_s = radio.wired_seconds(fleet.upload_bits[mask], fleet.links.rate_bits_per_s[mask])
    return upload_s, np.zeros_like(upload_s), (fleet.links.overhead_w[mask] + price_w) * upload_s


def _shared(fleet: Fleet, mask: np.ndarray, price_w: np.ndarray, price_medium_j: float) -> Found:
    """s = sqrt(mu*S/(R*W)), from all of the link to twice the round (longer than any plan can use)."""
    links = fleet.links
    watts = links.overhead_w[mask] + price_w
    alone_s = radio.wired_seconds(fleet.upload_bits[mask], links.rate_bits_per_s[mask])
    best_s = np.sqrt(np.divide(price_medium_j * alone_s, watts, out=np.full_like(watts, np.inf), where=watts > 0))
    upload_s = np.clip(best_s, alone_s, np.maximum(alone_s, 2.0 * fleet.round_s))
    sending = links.power_w[mask] / links.efficiency[mask] * alone_s
    priced = sending + watts * upload_s + price_medium_j * alone_s / upload_s
    return upload_s, np.zeros_like(upload_s), priced


def _fixed_power(fleet: Fleet, mask: np.ndarray, price_w: np.ndarray, price_medium_j: float) -> Found:
    return _at_power(fleet, mask, fleet.links.overhead_w[mask] + price_w, price_medium_j)


def _scheduled(fleet: Fleet, mask: np.ndarray, price_w: np.ndarray, price_medium_j: float) -> Found:
    """Inside where that keeps both limits (it is then the least of all), else the better of the two limits.

    Where seconds cost nothing the least is not reached: ever longer on ever less band costs ever closer to c*L/eff.
    """
    links = fleet.links
    watts = links.overhead_w[mask] + price_w
    nats = fleet.upload_bits[mask] * radio.LN2
    noise, efficiency, power = links.noise_w_per_hz[mask], links.efficiency[mask], links.power_w[mask]
    x = inside(watts * price_medium_j * efficiency**2 / (noise**2 * nats))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        band_hz = np.sqrt(nats * watts / (x * price_medium_j))
        upload_s = np.sqrt(nats * price_medium_j / (x * watts))
        priced = noise * nats / efficiency * np.expm1(x) / x + watts * upload_s + price_medium_j * band_hz
        fits = (band_hz <= fleet.capacity) & (noise * band_hz * np.expm1(x) <= power) & np.isfinite(priced)
    unpaid = watts == 0
    upload_s[unpaid], band_hz[unpaid] = _FOREVER * fleet.round_s, 0.0
    priced[unpaid] = (noise * nats / efficiency)[unpaid]
    fits |= unpaid
    if not fits.all():
        rest = mask.copy()
        rest[mask] = ~fits
        upload_s[~fits], band_hz[~fits], priced[~fits] = _at_limits(fleet, rest, watts[~fits], price_medium_j)
    return upload_s, band_hz, priced


def _at_limits(fleet: Fleet, mask: np.ndarray, watts: np.ndarray, price_medium_j: float) -> Found:
    """The better of: the whole band at no more than full power; full power on no more than the whole band."""
    links = fleet.links
    nats = fleet.upload_bits[mask] * radio.LN2
    noise, efficiency = links.noise_w_per_hz[mask], links.efficiency[mask]
    x = np.minimum(on_band(efficiency * watts / (noise * fleet.capacity)), _least_x(fleet, mask))
    band_hz = np.full_like(x, fleet.capacity)
    upload_s = nats / (band_hz * x)
    priced = noise * nats / efficiency * np.expm1(x) / x + watts * upload_s + price_medium_j * band_hz
    other = _at_power(fleet, mask, watts, price_medium_j)
    take = other[2] < priced
    return (
        np.where(take, other[0], upload_s),
        np.where(take, other[1], band_hz),
        np.where(take, other[2], priced),
    )


def _at_power(fleet: Fleet, mask: np.ndarray, watts: np.ndarray, price_medium_j: float) -> Found:
    """The least priced joules with all of `power_w` radiated, on at most the whole band."""
    links = fleet.links
    noise, power, efficiency = links.noise_w_per_hz[mask], links.power_w[mask], links.efficiency[mask]
    nats = fleet.upload_bits[mask] * radio.LN2
    drawn_w = power / efficiency + watts
    ratio = np.divide(
        price_medium_j * power**2, noise**2 * nats * drawn_w, out=np.full_like(nats, 1e300), where=drawn_w > 0
    )
    least = _least_x(fleet, mask)
    x = np.maximum(on_power(ratio), least)
    band_hz = np.where(x > least, power / (noise * np.expm1(x)), fleet.capacity)
    upload_s = nats / (band_hz * x)
    return upload_s, band_hz, drawn_w * upload_s + price_medium_j * band_hz


def _least_x(fleet: Fleet, mask: np.ndarray) -> np.ndarray:
    """x with the whole band at full power: no more than that is left of the noise's share."""
    return np.log1p(fleet.links.power_w[mask] / (fleet.links.noise_w_per_hz[mask] * fleet.capacity))


def upload_joules(fleet: Fleet, upload_s: np.ndarray, bandwidth_hz: np.ndarray) -> np.ndarray:
    """E_com (I,) from the numbers alone."""
    links, bits = fleet.links, fleet.upload_bits
    joules = links.overhead_w * upload_s
    chosen = links.scheduled
    channel = (links.noise_w_per_hz[chosen], links.efficiency[chosen], links.overhead_w[chosen])
    joules[chosen] = radio.scheduled_joules(bits[chosen], bandwidth_hz[chosen], upload_s[chosen], *channel)
    fixed = links.fixed_power
    joules[fixed] += links.power_w[fixed] / links.efficiency[fixed] * upload_s[fixed]
    shared = links.shared
    sender = (links.rate_bits_per_s[shared], links.power_w[shared], links.efficiency[shared])
    joules[shared] = radio.shared_joules(bits[shared], upload_s[shared], *sender, links.overhead_w[shared])
    return joules


def medium_use(fleet: Fleet, upload_s: np.ndarray, bandwidth_hz: np.ndarray) -> np.ndarray:
    """What each device (I,) takes of the shared medium: hertz, or parts of a shared link; 0 for a wire of one's own."""
    use = np.where(fleet.links.banded, bandwidth_hz, 0.0)
    shared = fleet.links.shared
    use[shared] = radio.link_share(fleet.upload_bits[shared], upload_s[shared], fleet.links.rate_bits_per_s[shared])
    return use


def least_upload_s(fleet: Fleet) -> np.ndarray:
    """Seconds (I,) of the fastest upload: with all of the medium and at full power."""
    links, bits = fleet.links, fleet.upload_bits
    seconds = np.empty(len(fleet))
    banded, lined = links.banded, links.wired | links.shared
    law = (links.power_w[banded], links.noise_w_per_hz[banded])
    seconds[banded] = radio.seconds_at_power(bits[banded], np.full(int(banded.sum()), fleet.capacity), *law)
    seconds[lined] = radio.wired_seconds(bits[lined], links.rate_bits_per_s[lined])
    return seconds


def least_medium_use(fleet: Fleet, upload_s: np.ndarray) -> np.ndarray:
    """The least of the medium (I,) with which each upload ends within upload_s (I,), at full power.

    Infinite where no amount of it would do: q = p*s/(c*L) must exceed 1, and (e**x - 1)/x = q.
    """
    links = fleet.links
    use = np.zeros(len(fleet))
    banded = links.banded
    power, noise = links.power_w[banded], links.noise_w_per_hz[banded]
    ratio = power * upload_s[banded] / (noise * fleet.upload_bits[banded] * radio.LN2)
    possible = ratio > 1.0
    x = spread(np.where(possible, ratio, 2.0))
    use[banded] = np.where(possible, power / (noise * np.expm1(x)), np.inf)
    shared = links.shared
    use[shared] = radio.link_share(fleet.upload_bits[shared], upload_s[shared], links.rate_bits_per_s[shared])
    return use
