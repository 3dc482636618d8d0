"""A virtual board's radio: what Shannon's law gives for the transmit power that is really in force. Pure.

    rate(t) = b log2(1 + p g h(t) / (n0 b))        drawn while it sends, above the link's own watts: p / efficiency

b the bandwidth, g the path's gain, n0 the noise density, h the fading: 1, or redrawn from an exponential distribution
(Rayleigh fading of the amplitude) every `coherence_s`. The law is models/radio.py's, so a plan can be held against it;
fading, the set power and whether the card heeds it at all are the board's own business.
"""

from __future__ import annotations

import math
import random
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from models import radio as law

Positive = Annotated[float, Meta(gt=0)]

DEEPEST_FADE = 0.02
"""Below it a block would stall the line for minutes; real links fall back to another rate or antenna."""


class RadioConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[board.radio]: `max_power_w` is what the amplifier gives at most, and what it gives when the card ignores what
    `iw` sets (`ignores_power`)."""

    bandwidth_hz: Positive
    path_loss_db: Annotated[float, Meta(ge=0, le=200)]
    noise_dbm_per_hz: Annotated[float, Meta(ge=-180, le=-60)] = -168.0
    efficiency: Annotated[float, Meta(gt=0, le=1)] = 0.25
    max_power_w: Positive = 0.1
    fading: Literal["none", "rayleigh"] = "none"
    coherence_s: Positive = 1.0
    ignores_power: bool = False


class Radio:
    """One board's way up. `set_power_w` is what `iw` was told."""

    def __init__(self, config: RadioConfig, seed: str) -> None:
        self.config = config
        self._seed = seed
        self.gain = 10 ** (-config.path_loss_db / 10)
        self.noise_w_per_hz = 10 ** (config.noise_dbm_per_hz / 10) / 1e3 / self.gain
        """Noise density over the path's gain, as models/radio.py wants it."""

    def power_w(self, set_power_w: float) -> float:
        """Watts that are really radiated."""
        config = self.config
        return config.max_power_w if config.ignores_power else min(set_power_w, config.max_power_w)

    def fade(self, t: float) -> float:
        """The channel's fading at a time; the same seed and time give the same."""
        if self.config.fading == "none":
            return 1.0
        block = math.floor(t / self.config.coherence_s)
        return max(random.Random(f"{self._seed}:{block}").expovariate(1.0), DEEPEST_FADE)

    def bits_per_s(self, set_power_w: float, t: float) -> float:
        """The rate at a time."""
        noise = self.noise_w_per_hz / self.fade(t)
        return 1.0 / law.seconds_at_power(1.0, self.config.bandwidth_hz, self.power_w(set_power_w), noise)

    def drawn_w(self, set_power_w: float) -> float:
        """What sending draws above the link's own watts."""
        return self.power_w(set_power_w) / self.config.efficiency

    def signal_dbm(self, set_power_w: float, t: float) -> float:
        """What an access point reports of the board's signal."""
        return 10 * math.log10(self.power_w(set_power_w) * self.gain * self.fade(t) * 1e3)
