"""Seconds and joules a sample on a calibrated board at any clock, and those of another network from one timing. Pure.

The *law*: tau(f) = a + w/f and P(f) = P_s + kappa f^3. The *table* follows what was measured: seconds by the law
through the two clocks around f, watts by a smooth curve that does not overshoot (a voltage that stands still at low
clocks and rises above them bends watts as no one power of f does); beyond the measured range both go on as the law
through the last two. The law smooths.

Another network. One timing tells how much work a sample of it is, not how much of that waits for memory. So cycles and
the fixed part are scaled alike: tau_new(f) = tau_new(f0) * tau(f) / tau(f0), which keeps the share of time that does
not shrink with the clock. That share is a network's own: `STALL_SPREAD` is how far it is taken to differ, and the
uncertainty grows with the distance from the timed clock accordingly. Watts are those of the board at work, and hardly
those of the network; where the timing has watts of its own, what is above the idle floor is scaled to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from models import energy
from models.pchip import pchip

Curve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Clocks (K,) in hertz to seconds and joules a sample, each (K,)."""

STALL_SPREAD = 0.06
"""Standard deviation between networks of the share of a sample's time, at the timed clock, that does not scale: that of
shares spread evenly over 0.1 to either side."""


@dataclass(frozen=True)
class Foretold:
    """A network at clocks (K,): seconds a sample, watts, and the relative uncertainty of the seconds that comes from
    the share of time which does not scale, each (K,)."""

    s_per_sample: np.ndarray
    power_w: np.ndarray
    spread: np.ndarray


def law_curve(fixed_s: float, cycles: float, static_w: float, kappa: float) -> Curve:
    """What the law says."""
    a, w, p, k = map(np.array, (fixed_s, cycles, static_w, kappa))

    def curve(freq_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tau_s = energy.seconds_per_sample(freq_hz, a, w)
        return tau_s, tau_s * energy.busy_power_w(freq_hz, p, k)

    return curve


def table_curve(known_hz: np.ndarray, tau_s: np.ndarray, joules: np.ndarray) -> Curve:
    """What at least two measured points say: arrays (K,), ascending in frequency."""

    def curve(freq_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left = np.clip(np.searchsorted(known_hz, freq_hz) - 1, 0, len(known_hz) - 2)
        seconds = _through(1.0 / known_hz, tau_s, left, 1.0 / freq_hz)
        return seconds, seconds * watts_between(known_hz, joules / tau_s, freq_hz)

    return curve


def watts_between(known_hz: np.ndarray, power_w: np.ndarray, freq_hz: np.ndarray) -> np.ndarray:
    """Watts (N,) at `freq_hz` from measured ones (K,), K >= 2: a smooth curve between them, P_s + kappa f^3 beyond."""
    left = np.clip(np.searchsorted(known_hz, freq_hz) - 1, 0, len(known_hz) - 2)
    beyond = _through(known_hz**3, power_w, left, freq_hz**3)
    if len(known_hz) == 2:
        return beyond
    inside = (known_hz[0] <= freq_hz) & (freq_hz <= known_hz[-1])
    return np.where(inside, pchip(known_hz, power_w, np.clip(freq_hz, known_hz[0], known_hz[-1])), beyond)


class Point(Protocol):
    """An operating point as it was measured."""

    @property
    def freq_hz(self) -> float: ...
    @property
    def s_per_sample(self) -> float: ...
    @property
    def j_per_sample(self) -> float: ...


class Law(Protocol):
    """The four coefficients."""

    @property
    def fixed_s_per_sample(self) -> float: ...
    @property
    def cycles_per_sample(self) -> float: ...
    @property
    def power_static_w(self) -> float: ...
    @property
    def kappa_w_per_hz3(self) -> float: ...


def curve_of(model: Literal["law", "table"], law: Law, points: Sequence[Point]) -> Curve:
    """The curve of a calibration, of a file or of a message: whichever of both models it names."""
    if model == "law":
        return law_curve(law.fixed_s_per_sample, law.cycles_per_sample, law.power_static_w, law.kappa_w_per_hz3)
    columns = np.array([(point.freq_hz, point.s_per_sample, point.j_per_sample) for point in points]).T
    return table_curve(columns[0], columns[1], columns[2])


def stall_uncertainty(curve: Curve, timed_hz: float, freq_hz: np.ndarray) -> np.ndarray:
    """By how much seconds change (K,), relatively, where `STALL_SPREAD` of the timed sample scales otherwise.

    With a share more fixed: tau(f)/tau(f0) + spread * (1 - f0/f).
    """
    here_s, tau_s = curve(np.array([timed_hz]))[0][0], curve(freq_hz)[0]
    return np.asarray(STALL_SPREAD * np.abs(1.0 - timed_hz / freq_hz) / (tau_s / here_s))


def foretell(
    curve: Curve,
    freqs_hz: np.ndarray,
    timed_hz: float,
    s_per_sample: float,
    power_w: float | None = None,
    idle_w: float = 0.0,
) -> Foretold:
    """Another network at `freqs_hz` (K,), of which a sample took `s_per_sample` at `timed_hz`.

    `power_w` (None: not measured) are the whole board's watts meanwhile. Raises ValueError where they are not above
    `idle_w`.
    """
    here_s, here_j = (value[0] for value in curve(np.array([timed_hz])))
    tau_s, joules = curve(freqs_hz)
    watts = joules / tau_s
    if power_w is not None:
        if power_w <= idle_w:
            raise ValueError(f"{power_w:g} W at work is not above {idle_w:g} W idle")
        watts = idle_w + (watts - idle_w) * (power_w - idle_w) / (here_j / here_s - idle_w)
    return Foretold(tau_s * (s_per_sample / here_s), watts, stall_uncertainty(curve, timed_hz, freqs_hz))


def _through(x: np.ndarray, y: np.ndarray, left: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Straight on through the points `left` and `left` + 1."""
    return y[left] + (y[left + 1] - y[left]) * (at - x[left]) / (x[left + 1] - x[left])
