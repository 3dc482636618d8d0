"""One device and its share of a plan, as values to write by hand and to look at; whole fleets are arrays (problem.py).

SI units; None where something is not stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

EnergyBasis = Literal["added", "board"]
RadioKind = Literal["scheduled", "fixed_power", "shared_link", "wired"]
AccuracyModel = Literal["device_mean", "pooled"]
"""Whose data the learning curve is asked about. "device_mean": the mean over devices of err(x_i), as if each learned
alone. "pooled": err(mean of x_i), as if all learned from what they hold together, which is what averaging their updates
by samples comes to. Both are convex; err being convex, the pooled error is never above the other."""

RADIO_KINDS: tuple[RadioKind, ...] = get_args(RadioKind)
MOST_SAMPLES = 2**31 - 1  # of a count: what 32 bits hold


@dataclass(frozen=True)
class LearningCurve:
    """err(x) = alpha * x**(-beta) + gamma for x effective samples of a device; alpha, beta > 0, 0 <= gamma < 1."""

    alpha: float
    beta: float
    gamma: float


@dataclass(frozen=True)
class AnalyticCpu:
    """P(f) = power_static_w + kappa * f**3 while training; seconds per sample fixed_s + cycles / f."""

    fixed_s_per_sample: float
    cycles_per_sample: float
    power_static_w: float
    power_idle_w: float
    kappa_w_per_hz3: float
    freq_min_hz: float
    freq_max_hz: float


@dataclass(frozen=True)
class OppTable:
    """Measured operating points, ascending in frequency: arrays (K,) of Hz, seconds and whole-board joules a sample.

    A single point may have no clock, NaN: of a board that can neither set nor tell it.
    """

    freq_hz: np.ndarray
    s_per_sample: np.ndarray
    j_per_sample: np.ndarray
    power_idle_w: float


@dataclass(frozen=True)
class Radio:
    """A device's way to the server; which fields are read depends on `kind` (see models/radio.py).

    `levels_w`, ascending, are the only watts that a "scheduled" radio can radiate; None: any up to tx_power_max_w.
    """

    kind: RadioKind
    gain_over_noise_hz_per_w: float | None = None
    tx_power_max_w: float | None = None
    tx_power_w: float | None = None
    levels_w: tuple[float, ...] | None = None
    amplifier_efficiency: float = 1.0
    overhead_w: float = 0.0
    link_bits_per_s: float | None = None


@dataclass(frozen=True)
class Spread:
    """How far a device may be from what is stated of it: standard deviations of the natural logarithm, 0 for none.

    `speed` is of seconds a sample at any clock, `gain` of the channel gain, or of the link rate where a link has one.
    """

    speed: float = 0.0
    gain: float = 0.0


@dataclass(frozen=True)
class Device:
    """One device: its data (whole local_counts (C,)), its processor (a measured table or the law), its radio."""

    id: str
    local_counts: np.ndarray
    storage_samples: int
    upload_bits: float
    cpu: AnalyticCpu | OppTable
    radio: Radio
    spread: Spread = Spread()

    @property
    def local_samples(self) -> int:
        return int(self.local_counts.sum())


@dataclass(frozen=True)
class PlannedSegment:
    """`samples` trained samples (with repetitions) at `freq_hz`; None: at the one operating point of a board that can
    neither set nor tell its clock."""

    freq_hz: float | None
    samples: int


@dataclass(frozen=True)
class PlannedUpload:
    """An upload that goes with what is executed, where that moved it."""

    upload_s: float
    bandwidth_hz: float
    tx_power_w: float | None
    upload_j: float


@dataclass(frozen=True)
class DevicePlan:
    """A device's share of the plan: the continuous optimum, and the executable one derived from it."""

    id: str
    samples: float
    compute_s: float
    upload_s: float
    bandwidth_hz: float
    tx_power_w: float | None
    compute_j: float
    upload_j: float
    executed_samples: int
    segments: tuple[PlannedSegment, ...]
    executed_compute_s: float
    executed_compute_j: float
    synth_counts: tuple[int, ...]
    executed_upload: PlannedUpload | None = None


@dataclass(frozen=True)
class PlanRecord:
    """A plan with one value a device, as a run keeps and follows it; the fields are those of `problem.Plan`."""

    method: str
    energy_basis: EnergyBasis
    energy_j: float
    lower_bound_j: float
    relative_gap: float
    executed_energy_j: float
    executed_gap: float
    price_error_j: float
    price_bandwidth_j_per_hz: float
    seconds: float
    devices: tuple[DevicePlan, ...] = ()
