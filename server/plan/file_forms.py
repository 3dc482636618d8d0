"""fleet.json and plan.json as types: strict, SI units, null for "not known". README.md of this folder explains them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from server.plan.devices import MOST_SAMPLES, AccuracyModel, EnergyBasis, RadioKind

Count = Annotated[int, Meta(ge=0, le=MOST_SAMPLES)]
Trained = Annotated[int, Meta(ge=-(2**53), le=2**53)]  # what a plan may claim: as far as a float counts by ones


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A part of a file."""


class CurveFile(_File, frozen=True, gc=False):
    alpha: float
    beta: float
    gamma: float


class CpuFile(_File, frozen=True, gc=False):
    """The analytic law; with measured `opps` only power_idle_w is read and the rest may be left out."""

    power_idle_w: float
    fixed_s_per_sample: float | None = None
    cycles_per_sample: float | None = None
    power_static_w: float | None = None
    kappa_w_per_hz3: float | None = None
    freq_min_hz: float | None = None
    freq_max_hz: float | None = None


class OppFile(_File, frozen=True, gc=False):
    """One measured operating point; whole-board joules. `freq_hz` is null at the only point of a board without a
    clock that could be told."""

    freq_hz: float | None
    s_per_sample: float
    j_per_sample: float


class RadioFile(_File, frozen=True, gc=False):
    kind: RadioKind
    gain_over_noise_hz_per_w: float | None = None
    tx_power_max_w: float | None = None
    tx_power_w: float | None = None
    amplifier_efficiency: float = 1.0
    overhead_w: float = 0.0
    link_bits_per_s: float | None = None
    levels_w: Annotated[tuple[float, ...], Meta(min_length=1)] | None = None


class SpreadFile(_File, frozen=True, gc=False):
    """Standard deviations of the natural logarithm: of seconds a sample, and of the channel gain or link rate."""

    speed: float = 0.0
    gain: float = 0.0


class DeviceFile(_File, frozen=True, kw_only=True, gc=False):
    id: str
    local_counts: Annotated[tuple[Count, ...], Meta(min_length=1)]
    storage_samples: Count
    upload_bits: float
    cpu: CpuFile
    opps: Annotated[tuple[OppFile, ...], Meta(min_length=1)] | None = None
    radio: RadioFile
    spread: SpreadFile | None = None


class FleetHead(_File, frozen=True, kw_only=True, gc=False):
    """`fleet.json` without its devices."""

    local_epochs: int
    round_s: float
    bandwidth_hz: float | None = None
    target_error: float | None = None
    energy_basis: EnergyBasis = "added"
    accuracy_model: AccuracyModel = "device_mean"
    learning_curve: CurveFile
    synthetic_value: float


class FleetFile(FleetHead, frozen=True, kw_only=True, gc=False):
    """`fleet.json`: a whole problem, its devices as bytes yet (DeviceFile)."""

    devices: list[msgspec.Raw]


class SegmentFile(_File, frozen=True, gc=False):
    freq_hz: float | None
    samples: Trained


class ExecutedFile(_File, frozen=True, gc=False, omit_defaults=True):
    """With the last four where the uploads moved with what is executed."""

    samples: Trained
    segments: tuple[SegmentFile, ...]
    compute_s: float
    compute_j: float
    upload_s: float | None = None
    bandwidth_hz: float | None = None
    tx_power_w: float | None = None
    upload_j: float | None = None


class ShareFile(_File, frozen=True, gc=False):
    id: str
    samples: float
    synth_counts: tuple[Annotated[int, Meta(ge=-MOST_SAMPLES, le=MOST_SAMPLES)], ...]
    compute_s: float
    upload_s: float
    bandwidth_hz: float
    tx_power_w: float | None
    compute_j: float
    upload_j: float
    executed: ExecutedFile


class PlanHead(_File, frozen=True, kw_only=True, gc=False):
    """`plan.json` without its devices."""

    method: str
    energy_basis: EnergyBasis
    energy_j: float
    lower_bound_j: float
    relative_gap: float
    executed_energy_j: float
    executed_gap: float
    seconds: float
    price_error_j: float
    price_bandwidth_j_per_hz: float


class PlanFile(PlanHead, frozen=True, kw_only=True, gc=False):
    """`plan.json`: a plan with its certificate, its devices as bytes yet (ShareFile)."""

    devices: list[msgspec.Raw]
