"""The planning problem and its answer as frozen values: arrays of shape (n_devices,), SI units.

Symbols as in the module docs of `server.plan`: device i trains samples[i] distinct samples local_epochs times in
compute_s[i] seconds, uploads upload_bits[i] in upload_s[i] seconds, compute_s + upload_s <= round_s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from math import isnan
from typing import Any, overload

import numpy as np

from server.errors import ConfigError
from server.plan.columnar import columns, each, joined, names, ragged_joined, ragged_rows, starts
from server.plan.columns import Devices, column, stacked
from server.plan.devices import (
    AccuracyModel,
    AnalyticCpu,
    Device,
    DevicePlan,
    EnergyBasis,
    LearningCurve,
    OppTable,
    PlannedSegment,
    PlannedUpload,
    PlanRecord,
    Radio,
    RadioKind,
)

__all__ = [
    "CONTINUOUS", "AccuracyModel", "AnalyticCpu", "Device", "DevicePlan", "Devices", "EnergyBasis", "Executed",
    "LearningCurve", "OppTable", "Plan", "PlanRecord", "PlannedSegment", "PlannedUpload", "Problem", "Radio",
    "RadioKind", "Segments", "Shares", "Uploads",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Problem:
    """P1: the least energy of a round in which the error, by `accuracy_model`, stays within target_error.

    `target_error` None asks for no accuracy: every device trains exactly its local samples (plain FL).
    `synthetic_value` is eta: the worth of one synthetic sample in real ones. `bandwidth_hz` is shared by devices with
    radio kind "scheduled" or "fixed_power".
    """

    devices: Devices
    round_s: float
    local_epochs: int
    target_error: float | None
    learning_curve: LearningCurve
    synthetic_value: float
    energy_basis: EnergyBasis = "added"
    bandwidth_hz: float | None = None
    accuracy_model: AccuracyModel = "device_mean"

    @classmethod
    def of(cls, devices: Iterable[Device], *parts: Any, **fields_: Any) -> Problem:
        """A problem of single devices; the rest as in the constructor. Raises `ConfigError` where they do not fit."""
        return cls(Devices.of(devices), *parts, **fields_)

    def device(self, index: int) -> Device:
        """One device as a value of its own."""
        return self.devices[index]


CONTINUOUS = ("samples", "compute_s", "upload_s", "bandwidth_hz", "tx_power_w", "compute_j", "upload_j")
"""The columns of `Shares` that hold the continuous optimum."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Trained samples (with repetitions) on a clock, ragged: those of device i from start[i] to start[i + 1].

    `freq_hz` is NaN at an operating point whose clock is not known.
    """

    start: np.ndarray
    freq_hz: np.ndarray
    samples: np.ndarray


@dataclass(frozen=True, eq=False)
class Uploads:
    """Uploads (I,) in seconds, hertz, watts sent (NaN where a radio has none to tell) and joules."""

    upload_s: np.ndarray
    bandwidth_hz: np.ndarray
    tx_power_w: np.ndarray
    upload_j: np.ndarray

    @classmethod
    def of(cls, uploads: Sequence[PlannedUpload | None]) -> Uploads | None:
        """Columns from single uploads; None unless all are there."""
        if not uploads or None in uploads:
            return None
        return cls(*(column(uploads, name) for name in names(cls)))


@dataclass(frozen=True, eq=False)
class Executed:
    """What devices are told to do: distinct `samples` (I,) int64, segments in their order, seconds and joules (I,).

    `uploads` are those that go with it where they are others than the continuous ones.
    """

    samples: np.ndarray
    segments: Segments
    compute_s: np.ndarray
    compute_j: np.ndarray
    uploads: Uploads | None = None


@dataclass(frozen=True, eq=False)
class Shares(Sequence[DevicePlan]):
    """What a plan says of every device: the continuous optimum (I,), the executable share derived from it, and the
    classes (I, C) int32 of its synthetic samples. `tx_power_w` is NaN where a radio has none to tell."""

    ids: tuple[str, ...]
    samples: np.ndarray
    compute_s: np.ndarray
    upload_s: np.ndarray
    bandwidth_hz: np.ndarray
    tx_power_w: np.ndarray
    compute_j: np.ndarray
    upload_j: np.ndarray
    executed: Executed
    synth_counts: np.ndarray

    @classmethod
    def of(cls, shares: Iterable[DevicePlan]) -> Shares:
        """Columns from single shares; raises `ConfigError` where their classes differ in number."""
        shares = tuple(shares)
        for share in shares:
            expected = len(shares[0].synth_counts)
            if len(share.synth_counts) != expected:
                raise ConfigError(
                    f"{share.id}: synth_counts: {len(share.synth_counts)} classes, others have {expected}"
                )
        segments = [segment for share in shares for segment in share.segments]
        executed = Executed(
            samples=np.array([share.executed_samples for share in shares], dtype=np.int64),
            segments=Segments(
                starts(len(share.segments) for share in shares),
                column(segments, "freq_hz"),
                np.array([segment.samples for segment in segments], dtype=np.int64),
            ),
            compute_s=column(shares, "executed_compute_s"),
            compute_j=column(shares, "executed_compute_j"),
            uploads=Uploads.of([share.executed_upload for share in shares]),
        )
        counts = stacked([share.synth_counts for share in shares])
        return cls(
            ids=tuple(share.id for share in shares),
            executed=executed,
            synth_counts=counts,
            **{name: column(shares, name) for name in CONTINUOUS},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> DevicePlan: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[DevicePlan, ...]: ...
    def __getitem__(self, index: int | slice) -> DevicePlan | tuple[DevicePlan, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        i = range(len(self))[index]
        executed, segments = self.executed, self.executed.segments
        own = slice(segments.start[i], segments.start[i + 1])
        rows = zip(segments.freq_hz[own].tolist(), segments.samples[own].tolist(), strict=True)
        watts, uploads, upload = float(self.tx_power_w[i]), executed.uploads, None
        if uploads is not None:
            upload_s, band_hz, sent_w, upload_j = (float(values[i]) for values in columns(uploads))
            upload = PlannedUpload(upload_s, band_hz, None if np.isnan(sent_w) else sent_w, upload_j)
        return DevicePlan(
            id=self.ids[i],
            samples=float(self.samples[i]),
            compute_s=float(self.compute_s[i]),
            upload_s=float(self.upload_s[i]),
            bandwidth_hz=float(self.bandwidth_hz[i]),
            tx_power_w=None if np.isnan(watts) else watts,
            compute_j=float(self.compute_j[i]),
            upload_j=float(self.upload_j[i]),
            executed_samples=int(executed.samples[i]),
            segments=tuple(PlannedSegment(None if isnan(hz) else hz, samples) for hz, samples in rows),
            executed_compute_s=float(executed.compute_s[i]),
            executed_compute_j=float(executed.compute_j[i]),
            synth_counts=tuple(self.synth_counts[i].tolist()),
            executed_upload=upload,
        )

    def as_executed(self) -> Shares:
        """The same with the uploads that go with what is executed."""
        return self if self.executed.uploads is None else replace(self, **vars(self.executed.uploads))

    def take(self, rows: np.ndarray) -> Shares:
        """Some of the shares: `rows` (M,) are their indices."""
        executed = self.executed
        return Shares(
            ids=tuple(self.ids[i] for i in rows.tolist()),
            executed=Executed(
                executed.samples[rows],
                ragged_rows(executed.segments, rows),
                executed.compute_s[rows],
                executed.compute_j[rows],
                None if executed.uploads is None else each(executed.uploads, lambda values: values[rows]),
            ),
            synth_counts=self.synth_counts[rows],
            **{name: getattr(self, name)[rows] for name in CONTINUOUS},
        )

    @classmethod
    def joined(cls, parts: Sequence[Shares]) -> Shares:
        """All shares of some such columns, at least one; raises `ConfigError` where some have moved uploads only."""
        told = [part.executed for part in parts]
        moved = [executed.uploads for executed in told if executed.uploads is not None]
        if 0 < len(moved) < len(told):
            raise ConfigError("executed.upload_s: stated of some devices and not of others; state all or none")
        return cls(
            ids=tuple(name for part in parts for name in part.ids),
            executed=Executed(
                np.concatenate([executed.samples for executed in told]),
                ragged_joined([executed.segments for executed in told]),
                np.concatenate([executed.compute_s for executed in told]),
                np.concatenate([executed.compute_j for executed in told]),
                joined(moved) if moved else None,
            ),
            synth_counts=np.concatenate([part.synth_counts for part in parts]),
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in CONTINUOUS},
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """The answer with its certificate: lower_bound_j <= optimum <= energy_j; executed_* after rounding.

    `seconds` is what the solve alone took. `price_s_w` (I,) is what a second more of the round would save by each
    device, in watts: known to whoever solved it, None where a plan was read from a file.
    """

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
    devices: Shares
    price_s_w: np.ndarray | None = None

    @classmethod
    def of(cls, record: PlanRecord) -> Plan:
        """The arrays of a record; raises `ConfigError` where its devices do not fit into arrays."""
        return cls(**(_totals(record) | {"devices": Shares.of(record.devices)}))

    def device(self, index: int) -> DevicePlan:
        """One device's share as a value of its own."""
        return self.devices[index]

    def record(self) -> PlanRecord:
        """The same with one value a device."""
        return PlanRecord(**(_totals(self) | {"devices": tuple(self.devices)}))


def _totals(plan: Plan | PlanRecord) -> dict[str, Any]:
    return {field.name: getattr(plan, field.name) for field in fields(PlanRecord)}
