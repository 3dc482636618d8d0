"""A board's calibration as a device offers it with its `Join`: what a sweep of its clocks measured, of the file that
`fimi-calibrate fit` writes no more than a server needs. Uncertainties are relative standard ones."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edge_client.protocol.values import Digest, NonNegative, Positive, Value

MOST_CLOCKS = 64
"""Operating points of a calibration; no board lists more."""

Text = Annotated[str, Meta(max_length=128)]
Share = Annotated[float, Meta(ge=0, le=1)]
Matrix = tuple[tuple[float, float], tuple[float, float]]


class CalibrationPoint(Value, frozen=True, kw_only=True):
    """One clock: seconds and joules a sample, and how far repeats agreed (None: nothing tells)."""

    freq_hz: Positive
    s_per_sample: Positive
    j_per_sample: Positive
    s_uncertainty: Share | None = None
    j_uncertainty: Share | None = None


class CalibrationLaw(Value, frozen=True, kw_only=True):
    """tau = fixed_s_per_sample + cycles_per_sample / f, P = power_static_w + kappa_w_per_hz3 * f**3, with the
    covariances of (fixed_s_per_sample, cycles_per_sample) and of (power_static_w, kappa_w_per_hz3)."""

    fixed_s_per_sample: NonNegative
    cycles_per_sample: NonNegative
    power_static_w: NonNegative
    kappa_w_per_hz3: NonNegative
    time_covariance: Matrix
    power_covariance: Matrix


class Calibration(Value, frozen=True, kw_only=True):
    """One unit with one network; joules are those of the whole `boundary`. None where the file does not tell.

    `model` foretells a clock that was left out better, with errors of `s_error` and `j_error` on average. `digest` is
    of the windows behind it, `measured` when the last of them began.
    """

    digest: Digest
    measured: Text | None
    board: Text | None
    network: Text | None
    batch_size: Annotated[int, Meta(ge=1)] | None
    cores: Annotated[int, Meta(ge=1)] | None
    runtime: Text | None
    boundary: Literal["board", "soc", "cpu_package", "wall"] | None
    meter: Text | None
    idle_w: Positive | None
    model: Literal["law", "table"]
    s_error: NonNegative
    j_error: NonNegative
    law: CalibrationLaw
    points: Annotated[tuple[CalibrationPoint, ...], Meta(min_length=3, max_length=MOST_CLOCKS)]
