"""The planning problem and its answer as frozen values: arrays of shape (n_devices,), SI units.

Symbols as in the module docs of `server.plan`: device i trains samples[i] distinct samples local_epochs times in
compute_s[i] seconds, uploads upload_bits[i] in upload_s[i] seconds, compute_s + upload_s <= round_s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

EnergyBasis = Literal["added", "board"]
RadioKind = Literal["scheduled", "fixed_power", "shared_link", "wired"]
AccuracyModel = Literal["device_mean", "pooled"]
"""Whose data the learning curve is asked about. "device_mean": the mean over devices of err(x_i), as if each learned
alone. "pooled": err(mean of x_i), as if all learned from what they hold together, which is what averaging their updates
by samples comes to. Both are convex; err being convex, the pooled error is never above the other."""


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
    """Measured operating points, ascending in frequency: arrays (K,) of Hz, seconds and whole-board joules a sample."""

    freq_hz: np.ndarray
    s_per_sample: np.ndarray
    j_per_sample: np.ndarray
    power_idle_w: float


@dataclass(frozen=True)
class Radio:
    """A device's way to the server; which fields are read depends on `kind` (see radio.py)."""

    kind: RadioKind
    gain_over_noise_hz_per_w: float | None = None
    tx_power_max_w: float | None = None
    tx_power_w: float | None = None
    levels_w: tuple[float, ...] | None = None
    amplifier_efficiency: float = 1.0
    overhead_w: float = 0.0
    link_bits_per_s: float | None = None


@dataclass(frozen=True)
class Device:
    """One device: its data, its processor (a measured table or the analytic law), its radio."""

    id: str
    local_counts: np.ndarray
    storage_samples: int
    upload_bits: float
    cpu: AnalyticCpu | OppTable
    radio: Radio

    @property
    def local_samples(self) -> int:
        return int(self.local_counts.sum())


@dataclass(frozen=True)
class Problem:
    """P1: the least energy of a round in which the error, by `accuracy_model`, stays within target_error.

    `target_error` None asks for no accuracy: every device trains exactly its local samples (plain FL).
    `synthetic_value` is eta: the worth of one synthetic sample in real ones. `bandwidth_hz` is shared by devices with
    radio kind "scheduled" or "fixed_power".
    """

    devices: tuple[Device, ...]
    round_s: float
    local_epochs: int
    target_error: float | None
    learning_curve: LearningCurve
    synthetic_value: float
    energy_basis: EnergyBasis = "added"
    bandwidth_hz: float | None = None
    accuracy_model: AccuracyModel = "device_mean"


@dataclass(frozen=True)
class PlannedSegment:
    """`samples` trained samples (with repetitions) at `freq_hz`."""

    freq_hz: float
    samples: int


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


@dataclass(frozen=True)
class Plan:
    """The answer with its certificate: lower_bound_j <= optimum <= energy_j; executed_* after rounding."""

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
    devices: tuple[DevicePlan, ...] = field(default=())
