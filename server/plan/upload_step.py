"""What uploads cost and take, from the numbers alone, and the least that they could take."""

from __future__ import annotations

import numpy as np

from models import radio
from server.plan.fleet import Fleet
from server.plan.upload_laws import spread


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


def power_shares(fleet: Fleet, upload_s: np.ndarray, bandwidth_hz: np.ndarray) -> np.ndarray:
    """What "scheduled" uploads (M,) radiate, in parts of their largest power."""
    links = fleet.links
    rows = np.flatnonzero(links.scheduled)
    law = (fleet.upload_bits[rows], bandwidth_hz[rows], upload_s[rows], links.noise_w_per_hz[rows])
    with np.errstate(over="ignore"):
        return radio.tx_power_w(*law) / links.power_w[rows]


def told_power_w(fleet: Fleet, upload_s: np.ndarray, bandwidth_hz: np.ndarray) -> np.ndarray:
    """Radiated watts (I,): chosen, fixed, or NaN where the radio has none to tell."""
    links = fleet.links
    told = np.full(len(fleet), np.nan)
    on = links.scheduled
    law = (fleet.upload_bits[on], bandwidth_hz[on], upload_s[on], links.noise_w_per_hz[on])
    told[on] = np.minimum(radio.tx_power_w(*law), links.power_w[on])
    if links.levels_w is not None:
        told[on] = _level(told[on], links.levels_w[on])
    stated = links.fixed_power | (links.shared & (links.power_w > 0))
    told[stated] = links.power_w[stated]
    return told


def _level(watts: np.ndarray, levels_w: np.ndarray) -> np.ndarray:
    """The least level (N, L) that is enough for the watts (N,), as they are where there are no levels."""
    enough = np.where(levels_w >= watts[:, None] * (1 - 1e-9), levels_w, np.inf).min(axis=1)
    return np.where(np.isfinite(enough), enough, watts)
