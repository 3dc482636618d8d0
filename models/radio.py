"""What an upload costs: seconds, radiated watts and joules over four kinds of link.

"scheduled"    the cell grants bandwidth b and the device chooses its power: Shannon's law inverted.
"fixed_power"  the cell grants bandwidth b, the radiated power is what it is.
"shared_link"  everyone shares one medium of fixed rates: a device holds the fraction bits / (rate * seconds) of it.
"wired"        a link of one's own at a fixed rate.

With L = bits * ln 2 and x = L / (b*s) (nats per second and hertz) the radiated energy is c*b*s*(e**x - 1), where c is
the noise density over the channel's gain (W/Hz), 1 / gain_over_noise. Radiated joules divided by the amplifier's
efficiency are drawn joules; `overhead_w` is what the radio draws besides.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)  # one value or one a device, alike

LN2 = math.log(2.0)


def nats_per_use(bits: Number, bandwidth_hz: Number, upload_s: Number) -> Number:
    """x = bits * ln 2 / (bandwidth * seconds), the spectral efficiency in nats."""
    return bits * LN2 / (bandwidth_hz * upload_s)


def tx_power_w(bits: Number, bandwidth_hz: Number, upload_s: Number, noise_w_per_hz: Number) -> Number:
    """Radiated power that carries `bits` over `bandwidth_hz` in `upload_s`: c*b*(2**(bits/(b*s)) - 1), in watts."""
    return noise_w_per_hz * bandwidth_hz * np.expm1(nats_per_use(bits, bandwidth_hz, upload_s))


def scheduled_joules(
    bits: Number,
    bandwidth_hz: Number,
    upload_s: Number,
    noise_w_per_hz: Number,
    efficiency: Number,
    overhead_w: Number,
) -> Number:
    """Drawn joules of a scheduled upload: radiated power over efficiency, plus the overhead, times seconds."""
    power = tx_power_w(bits, bandwidth_hz, upload_s, noise_w_per_hz)
    return (power / efficiency + overhead_w) * upload_s


def seconds_at_power(bits: Number, bandwidth_hz: Number, power_w: Number, noise_w_per_hz: Number) -> Number:
    """Seconds to carry `bits` at radiated `power_w`: bits / (b * log2(1 + p/(c*b)))."""
    return bits * LN2 / (bandwidth_hz * np.log1p(power_w / (noise_w_per_hz * bandwidth_hz)))


def shared_joules(
    bits: Number,
    upload_s: Number,
    link_bits_per_s: Number,
    power_w: Number,
    efficiency: Number,
    overhead_w: Number,
) -> Number:
    """Drawn joules on a shared link: the transmitter draws in its own turns only, the overhead all the while."""
    return power_w / efficiency * bits / link_bits_per_s + overhead_w * upload_s


def link_share(bits: Number, upload_s: Number, link_bits_per_s: Number) -> Number:
    """The part of a shared link's time that an upload of `upload_s` seconds holds, in (0, 1]."""
    return bits / (link_bits_per_s * upload_s)


def wired_seconds(bits: Number, link_bits_per_s: Number) -> Number:
    """Seconds of an upload over a link of one's own."""
    return bits / link_bits_per_s


def expm1_gap(x: np.ndarray) -> np.ndarray:
    """h(x) = (x - 1)*e**x + 1 for x >= 0: x**2 times the derivative of (e**x - 1)/x; h(0) = 0, and it rises.

    Below 0.05 the difference would cancel, so the series sum_{k>=2} (k-1)/k! x**k stands in (next term under 1e-17).
    """
    x = np.asarray(x, dtype=float)
    tail = 1 / 2 + x * (1 / 3 + x * (1 / 8 + x * (1 / 30 + x * (1 / 144 + x * (1 / 840 + x * (1 / 5760 + x / 45360))))))
    return np.where(x < 0.05, x * x * tail, x * np.exp(x) - np.expm1(x))
