"""What uploads cost on one unit at each transmit power: `[radio]` of a calibrated profile, as `fimi-calibrate radio`
writes it.

    added joules of an upload = (P0 + p / efficiency) * seconds + frame_energy_j * frames

p the radiated watts, P0 = `overhead_w`, above the idle floor; where no floor is known P0 = `power_static_w`, the whole
board's. SI units; uncertainties are relative standard ones unless named otherwise, absent where nothing tells them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta

from firmware_profiles.provenance import AtLeastOne, CalibratedIdle, NonNegative, Positive, Provenance, Strict

Row3 = tuple[float, float, float]


class RadioLevel(Strict, frozen=True, kw_only=True):
    """One transmit power, and one size of frames where there were several, as measured: sums over all its windows.

    `payload_bytes` is that size (None: windows of all sizes together); `added` is above the idle floor.
    `w_uncertainty` and `byte_uncertainty` tell how far repeats agree; None where there are none.
    """

    tx_power_w: NonNegative | None = None
    payload_bytes: Positive | None = None
    power_w: Positive
    bits_per_s: Positive
    j_per_byte: Positive
    added_j_per_byte: float | None = None
    j_per_frame: Positive | None = None
    added_j_per_frame: float | None = None
    w_uncertainty: NonNegative | None = None
    byte_uncertainty: NonNegative | None = None
    windows: AtLeastOne


class RadioFit(Strict, frozen=True, kw_only=True):
    """How far the law is off the windows' joules (mean of the absolute relative errors, and the worst), and how far it
    was off windows that were left out, without and with a cost per frame; None where that could not be tried.

    `covariance` is that of (P0 in watts, 1 / efficiency, frame_energy_j): a term that is not in the law, or was held at
    its bound 0, has none; None as a whole where there are no more windows than terms.
    """

    energy_mape: NonNegative
    energy_worst: NonNegative
    held_out: NonNegative | None = None
    held_out_with_frames: NonNegative | None = None
    covariance: tuple[Row3, Row3, Row3] | None = None


class RadioOrigin(Provenance, frozen=True, kw_only=True):
    """Of uploads, through one interface."""

    interface: str | None = None


class CalibratedRadio(Strict, frozen=True, kw_only=True):
    """One unit's radio. What could not be told is None, and `no_efficiency`, `no_frame_energy` say why."""

    seconds: Literal["duration", "airtime"]
    """What P0 and p / efficiency are drawn for: the whole window, or the time on the air."""
    power_static_w: NonNegative
    overhead_w: NonNegative | None = None
    amplifier_efficiency: Annotated[float, Meta(gt=0, le=1)] | None = None
    no_efficiency: str | None = None
    frame_energy_j: NonNegative | None = None
    no_frame_energy: str | None = None
    level: Annotated[tuple[RadioLevel, ...], Meta(min_length=1)]
    fit: RadioFit
    idle: CalibratedIdle | None = None
    origin: RadioOrigin

    def __post_init__(self) -> None:
        for name in ("tx_power_w", "payload_bytes"):
            known = [getattr(one, name) is not None for one in self.level]
            if any(known) and not all(known):
                raise ValueError(f"level: one of several has no {name}; give it to each or to none")
        order = [(one.tx_power_w or 0.0, one.payload_bytes or 0.0) for one in self.level]
        if any(a >= b for a, b in pairwise(order)):
            raise ValueError("level: tx_power_w, and payload_bytes at each, are not ascending; sort them, each once")
        if (self.amplifier_efficiency is None) != (self.no_efficiency is not None):
            raise ValueError("no_efficiency: says why there is no amplifier_efficiency; give one of both")
        if (self.frame_energy_j is None) != (self.no_frame_energy is not None):
            raise ValueError("no_frame_energy: says why there is no frame_energy_j; give one of both")
        if (self.overhead_w is None) != (self.idle is None):
            raise ValueError("overhead_w: is the power above [radio.idle]; give both or neither")

    @property
    def overhead_uncertainty_w(self) -> float | None:
        """Watts, of P0."""
        return self._sigma(0)

    @property
    def efficiency_uncertainty(self) -> float | None:
        """Relative."""
        sigma = self._sigma(1)
        return None if sigma is None or self.amplifier_efficiency is None else sigma * self.amplifier_efficiency

    @property
    def frame_uncertainty_j(self) -> float | None:
        """Joules."""
        return None if self.frame_energy_j is None else self._sigma(2)

    def _sigma(self, k: int) -> float | None:
        held = self.fit.covariance
        return None if held is None else max(held[k][k], 0.0) ** 0.5
