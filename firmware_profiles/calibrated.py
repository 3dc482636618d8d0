"""What was measured on one board with the real training step: the file that `fimi-calibrate fit` writes.

A profile of `schema` describes a board type; this describes one unit, one network and one number of cores, as far as
its sweep went: the operating points as they were measured, a law through them, and how far each can be trusted. SI
units; uncertainties are relative standard ones (0.01: 1 %), absent where nothing tells them. Joules are those of the
meter's whole boundary. `[radio]` is what uploads cost on the same unit; a profile may have the sweep, the radio or
both.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from firmware_profiles.calibrated_radio import CalibratedRadio
from firmware_profiles.provenance import AtLeastOne, CalibratedIdle, NonNegative, Positive, Provenance, Strict
from firmware_profiles.strict import ConfigError, convert, read_toml

Matrix = tuple[tuple[float, float], tuple[float, float]]


class CalibratedOpp(Strict, frozen=True, kw_only=True):
    """One clock as it was measured: seconds and joules a sample over all its `windows`, and how far repeats agree.

    `w_uncertainty` is that of joules over seconds: a window that took longer cost more, and neither changes its watts.
    `temperature_c` is the mean over the windows, where they say how warm the board was.
    """

    freq_hz: Annotated[float, Meta(ge=1e7, le=1e10)]
    s_per_sample: Positive
    j_per_sample: Positive
    s_uncertainty: NonNegative | None = None
    j_uncertainty: NonNegative | None = None
    w_uncertainty: NonNegative | None = None
    temperature_c: float | None = None
    windows: AtLeastOne
    samples: AtLeastOne


class CalibratedLaw(Strict, frozen=True, kw_only=True):
    """tau = fixed_s_per_sample + cycles_per_sample / f, P = power_static_w + kappa_w_per_hz3 * f**3; see models.energy.

    `time_covariance` is that of (fixed_s_per_sample, cycles_per_sample), `power_covariance` that of (power_static_w,
    kappa_w_per_hz3); a coefficient that was held at its bound, 0, has none.
    """

    fixed_s_per_sample: NonNegative
    cycles_per_sample: NonNegative
    power_static_w: NonNegative
    kappa_w_per_hz3: NonNegative
    freq_min_hz: Positive
    freq_max_hz: Positive
    time_covariance: Matrix
    power_covariance: Matrix


class Misfit(Strict, frozen=True, kw_only=True):
    """Relative errors of foretold against measured values over all clocks: mean of the absolute ones, and the worst."""

    energy_mape: NonNegative
    energy_worst: NonNegative
    time_mape: NonNegative
    time_worst: NonNegative
    power_mape: NonNegative


class Fit(Strict, frozen=True, kw_only=True):
    """Which of law and table foretells a clock that was left out better, and by how much each misses.

    `law` is of the law at the clocks it was fitted to; `law_held_out` and `table_held_out` are each clock as foretold
    from the others.
    """

    model: Literal["law", "table"]
    law: Misfit
    law_held_out: Misfit
    table_held_out: Misfit

    @property
    def held_out(self) -> Misfit:
        """Of the model that was chosen."""
        return self.law_held_out if self.model == "law" else self.table_held_out


class CalibratedThermal(Strict, frozen=True, kw_only=True):
    """How it warms up at work and what that costs: nears ambient_c + resistance_c_per_w * P, see models.thermal.

    `w_per_c` is what a degree adds to the watts while training, 0 where the sweep could not tell.
    """

    ambient_c: float
    resistance_c_per_w: Positive
    time_constant_s: Positive
    w_per_c: NonNegative


class Origin(Provenance, frozen=True, kw_only=True):
    """Of a sweep, with one network."""

    governor: str | None = None
    network: str | None = None
    batch_size: AtLeastOne | None = None
    runtime: str | None = None
    temperature_c: tuple[float, float] | None = None


class Calibration(Strict, frozen=True, kw_only=True):
    """One unit, one network, one number of cores (None: not told)."""

    format: Literal[1] = 1
    cores: AtLeastOne | None = None
    opp: Annotated[tuple[CalibratedOpp, ...], Meta(min_length=3)]
    law: CalibratedLaw
    fit: Fit
    idle: CalibratedIdle | None = None
    thermal: CalibratedThermal | None = None
    origin: Origin
    radio: CalibratedRadio | None = None

    def __post_init__(self) -> None:
        clocks = [opp.freq_hz for opp in self.opp]
        if any(a >= b for a, b in pairwise(clocks)):
            raise ValueError("opp: freq_hz is not ascending; sort the operating points, each clock once")
        if self.law.freq_min_hz > self.law.freq_max_hz:
            raise ValueError("law: freq_min_hz is above freq_max_hz; swap them")
        if self.thermal and any(opp.temperature_c is None for opp in self.opp):
            raise ValueError("thermal: an opp has no temperature_c; give each, or leave [thermal] out")

    @property
    def idle_w(self) -> float | None:
        return self.idle.power_w if self.idle else None


class RadioProfile(Strict, frozen=True, kw_only=True):
    """A unit whose uploads were measured and whose clocks were not (yet)."""

    format: Literal[1] = 1
    radio: CalibratedRadio


def load_calibration(path: Path) -> Calibration:
    """The sweep's profile at `path`, with its radio where it has one; raises ConfigError."""
    found = load_profile_file(path)
    if isinstance(found, RadioProfile):
        raise ConfigError(f"{path}: holds uploads only; sweep the board's clocks and fit them into it")
    return found


def load_profile_file(path: Path) -> Calibration | RadioProfile:
    """The profile at `path`, of either kind; raises ConfigError."""
    data = read_toml(path)
    if "radio" in data and data.keys() <= {"format", "radio"}:
        return convert(data, RadioProfile, str(path))
    return convert(data, Calibration, str(path))
