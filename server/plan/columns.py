"""The devices of a problem as columns: arrays of shape (n_devices,) with the names of fleet.json; NaN: not stated.

`Devices` is a sequence of `Device` values too, made on demand: a few devices are as easy to look at as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from server.errors import ConfigError
from server.plan.columnar import each, joined, names, ragged_joined, ragged_rows, starts
from server.plan.devices import MOST_SAMPLES, RADIO_KINDS, AnalyticCpu, Device, OppTable, Radio, Spread


@dataclass(frozen=True, eq=False)
class Laws:
    """Analytic processors, each (I,); NaN where a device has measured operating points instead."""

    fixed_s_per_sample: np.ndarray
    cycles_per_sample: np.ndarray
    power_static_w: np.ndarray
    kappa_w_per_hz3: np.ndarray
    freq_min_hz: np.ndarray
    freq_max_hz: np.ndarray


@dataclass(frozen=True, eq=False)
class Opps:
    """Measured operating points (N,), ragged: those of device i from start[i] to start[i + 1], ascending in frequency.

    Whole-board joules. A device without any has a law; the clock of a single one may be NaN, for not known.
    """

    start: np.ndarray
    freq_hz: np.ndarray
    s_per_sample: np.ndarray
    j_per_sample: np.ndarray


@dataclass(frozen=True, eq=False)
class Radios:
    """Radios, each (I,); `kind` is an index into RADIO_KINDS."""

    kind: np.ndarray
    gain_over_noise_hz_per_w: np.ndarray
    tx_power_max_w: np.ndarray
    tx_power_w: np.ndarray
    amplifier_efficiency: np.ndarray
    overhead_w: np.ndarray
    link_bits_per_s: np.ndarray

    def of_kind(self, *kinds: str) -> np.ndarray:
        """Where (I,) a radio is of one of these kinds."""
        return np.isin(self.kind, [i for i, kind in enumerate(RADIO_KINDS) if kind in kinds])


@dataclass(frozen=True, eq=False)
class Levels:
    """The watts (N,) that radios with discrete levels can radiate, ragged as `Opps`, ascending within a device."""

    start: np.ndarray
    watts: np.ndarray


@dataclass(frozen=True, eq=False)
class Spreads:
    """How far devices may be from what is stated of them, each (I,); see `devices.Spread`."""

    speed: np.ndarray
    gain: np.ndarray


@dataclass(frozen=True, eq=False)
class Devices(Sequence[Device]):
    """All devices: `local_counts` (I, C) int32, `storage_samples` (I,) int64, other columns (I,) float64."""

    ids: tuple[str, ...]
    local_counts: np.ndarray
    storage_samples: np.ndarray
    upload_bits: np.ndarray
    power_idle_w: np.ndarray
    laws: Laws
    opps: Opps
    radios: Radios
    levels: Levels
    spreads: Spreads

    @classmethod
    def of(cls, devices: Iterable[Device]) -> Devices:
        """Columns from single devices; raises `ConfigError` for what does not fit into columns."""
        devices = tuple(devices)
        for device in devices:
            _refuse_misfits(device, devices[0])
        cpus, radios = [device.cpu for device in devices], [device.radio for device in devices]
        levels = [radio.levels_w or () for radio in radios]
        return cls(
            ids=tuple(device.id for device in devices),
            local_counts=stacked([device.local_counts for device in devices]),
            storage_samples=np.array([device.storage_samples for device in devices], dtype=np.int64),
            upload_bits=column(devices, "upload_bits"),
            power_idle_w=column(cpus, "power_idle_w"),
            laws=Laws(*(column(cpus, name) for name in names(Laws))),
            opps=Opps(
                starts(len(getattr(cpu, "freq_hz", ())) for cpu in cpus),
                *(_flat(getattr(cpu, name, ()) for cpu in cpus) for name in names(Opps)[1:]),
            ),
            radios=Radios(
                np.array([RADIO_KINDS.index(radio.kind) for radio in radios], dtype=np.int8),
                *(column(radios, name) for name in names(Radios)[1:]),
            ),
            levels=Levels(starts(map(len, levels)), _flat(levels)),
            spreads=Spreads(*(column([d.spread for d in devices], name) for name in names(Spreads))),
        )

    @cached_property
    def local_samples(self) -> np.ndarray:
        """Local samples of each device (I,) int64."""
        return self.local_counts.sum(axis=1, dtype=np.int64)

    @cached_property
    def tabled(self) -> np.ndarray:
        """Where (I,) measured operating points stand instead of a law."""
        return np.diff(self.opps.start) > 0

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Device: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Device, ...]: ...
    def __getitem__(self, index: int | slice) -> Device | tuple[Device, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        i = range(len(self))[index]  # from the end too, and IndexError beyond it
        return Device(
            id=self.ids[i],
            local_counts=self.local_counts[i],
            storage_samples=int(self.storage_samples[i]),
            upload_bits=float(self.upload_bits[i]),
            cpu=self._cpu(i),
            radio=self._radio(i),
            spread=Spread(float(self.spreads.speed[i]), float(self.spreads.gain[i])),
        )

    def _cpu(self, i: int) -> AnalyticCpu | OppTable:
        idle_w = float(self.power_idle_w[i])
        if not self.tabled[i]:
            law = {name: float(getattr(self.laws, name)[i]) for name in names(Laws)}
            return AnalyticCpu(power_idle_w=idle_w, **law)
        own = slice(self.opps.start[i], self.opps.start[i + 1])
        return OppTable(self.opps.freq_hz[own], self.opps.s_per_sample[own], self.opps.j_per_sample[own], idle_w)

    def _radio(self, i: int) -> Radio:
        levels = self.levels.watts[self.levels.start[i] : self.levels.start[i + 1]]
        numbers = {name: float(getattr(self.radios, name)[i]) for name in names(Radios)[1:]}
        stated = {name: number for name, number in numbers.items() if not np.isnan(number)}
        return Radio(kind=RADIO_KINDS[self.radios.kind[i]], levels_w=tuple(levels.tolist()) or None, **stated)

    def take(self, rows: np.ndarray) -> Devices:
        """Some of the devices: `rows` (M,) are their indices."""
        return Devices(
            ids=tuple(self.ids[i] for i in rows.tolist()),
            local_counts=self.local_counts[rows],
            storage_samples=self.storage_samples[rows],
            upload_bits=self.upload_bits[rows],
            power_idle_w=self.power_idle_w[rows],
            laws=each(self.laws, lambda values: values[rows]),
            opps=ragged_rows(self.opps, rows),
            radios=each(self.radios, lambda values: values[rows]),
            levels=ragged_rows(self.levels, rows),
            spreads=each(self.spreads, lambda values: values[rows]),
        )

    def named(self, ids: Iterable[str]) -> Devices:
        """Those of the devices with one of the ids, in the order they stand in here."""
        wanted = set(ids)
        return self.take(np.array([i for i, id_ in enumerate(self.ids) if id_ in wanted], dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Devices]) -> Devices:
        """All devices of some such columns, at least one."""
        return cls(
            ids=tuple(name for part in parts for name in part.ids),
            local_counts=np.concatenate([part.local_counts for part in parts]),
            storage_samples=np.concatenate([part.storage_samples for part in parts]),
            upload_bits=np.concatenate([part.upload_bits for part in parts]),
            power_idle_w=np.concatenate([part.power_idle_w for part in parts]),
            laws=joined([part.laws for part in parts]),
            opps=ragged_joined([part.opps for part in parts]),
            radios=joined([part.radios for part in parts]),
            levels=ragged_joined([part.levels for part in parts]),
            spreads=joined([part.spreads for part in parts]),
        )


def stacked(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Rows of equal length as (rows, C) int32; (0, 0) of none."""
    return np.array(rows, dtype=np.int32).reshape(len(rows), len(rows[0]) if rows else 0)


def column(values: Iterable[object], name: str) -> np.ndarray:
    """The attribute `name` of some values as an array of float64; NaN where it is None or not there."""
    return np.array([getattr(value, name, None) for value in values], dtype=float)


def _flat(rows: Iterable[Sequence[float] | np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(np.asarray(row, dtype=float) for row in rows)])


def _refuse_misfits(device: Device, first: Device) -> None:
    """Raises `ConfigError` for a device whose values have no place in columns beside those of the first."""
    counts = np.asarray(device.local_counts)
    whole = np.issubdtype(counts.dtype, np.integer) and counts.ndim == 1 and len(counts) > 0
    _require(whole, f"{device.id}: local_counts: not a list of whole numbers, one a class")
    classes = len(first.local_counts)
    _require(len(counts) == classes, f"{device.id}: local_counts: {len(counts)} classes, others have {classes}")
    _require(counts.min() >= 0, f"{device.id}: local_counts: a count is below 0")
    _require(counts.max() <= MOST_SAMPLES, f"{device.id}: local_counts: a count is above {MOST_SAMPLES}")
    storage = device.storage_samples
    whole = isinstance(storage, int | np.integer) and 0 <= storage <= MOST_SAMPLES
    _require(whole, f"{device.id}: storage_samples: {storage} is not a whole number from 0 to {MOST_SAMPLES}")
    if isinstance(device.cpu, OppTable):
        lengths = {len(device.cpu.freq_hz), len(device.cpu.s_per_sample), len(device.cpu.j_per_sample)}
        _require(len(lengths) == 1 and lengths != {0}, f"{device.id}: opps: columns empty or of unequal length")
    radio = device.radio
    _require(radio.kind in RADIO_KINDS, f"{device.id}: radio.kind: {radio.kind!r} is none of {', '.join(RADIO_KINDS)}")
    _require(radio.levels_w != (), f"{device.id}: radio.levels_w: empty; state the levels, or leave it out")
    for name in names(Radios)[1:]:
        value = getattr(radio, name)
        _require(value is None or not np.isnan(value), f"{device.id}: radio.{name}: {value} is not a number")


def _require(holds: bool | np.bool_, sentence: str) -> None:
    if not holds:
        raise ConfigError(sentence)
