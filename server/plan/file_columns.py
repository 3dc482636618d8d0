"""Between the devices of a file, as objects, and columns: a piece of them at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise, repeat

import numpy as np
from msgspec import structs

from server.errors import ConfigError
from server.plan.columnar import columns, names, row_of, starts
from server.plan.columns import Devices, Laws, Levels, Opps, Radios, Spreads, column, stacked
from server.plan.devices import RADIO_KINDS
from server.plan.file_forms import (
    CpuFile,
    DeviceFile,
    ExecutedFile,
    OppFile,
    RadioFile,
    SegmentFile,
    ShareFile,
    SpreadFile,
)
from server.plan.problem import CONTINUOUS, Executed, Segments, Shares, Uploads


class Place:
    """Where a piece of a file's devices stands, for sentences: `place(i)` is "fleet.json: devices[first + i]"."""

    def __init__(self, name: str, first: int):
        self.name, self.first = name, first

    def __call__(self, index: int) -> str:
        return f"{self.name}: devices[{self.first + index}]"


def devices_of(files: Sequence[DeviceFile], place: Place, classes: int) -> Devices:
    """Columns of some devices; raises `ConfigError` where one has other than `classes` classes, or no processor."""
    cpus, radios = [file.cpu for file in files], [file.radio for file in files]
    laws = Laws(*(column(cpus, name) for name in names(Laws)))
    _refuse_half_laws(files, laws, place)
    levels = [radio.levels_w or () for radio in radios]
    spreads = [file.spread for file in files]
    return Devices(
        ids=tuple(file.id for file in files),
        local_counts=_counts([file.local_counts for file in files], classes, "local_counts", place),
        storage_samples=np.array([file.storage_samples for file in files], dtype=np.int64),
        upload_bits=column(files, "upload_bits"),
        power_idle_w=column(cpus, "power_idle_w"),
        laws=laws,
        opps=_opps([file.opps or () for file in files]),
        radios=Radios(
            np.array([RADIO_KINDS.index(radio.kind) for radio in radios], dtype=np.int8),
            *(column(radios, name) for name in names(Radios)[1:]),
        ),
        levels=Levels(starts(map(len, levels)), np.fromiter(chain.from_iterable(levels), dtype=float)),
        spreads=Spreads(*(np.nan_to_num(column(spreads, name)) for name in names(Spreads))),
    )


def _refuse_half_laws(files: Sequence[DeviceFile], laws: Laws, place: Place) -> None:
    """A device without measured points must state the whole law; one with them leaves the law unread."""
    stated = np.array([file.opps is not None for file in files])
    known = ~np.isnan(np.stack(columns(laws)))
    for i in np.flatnonzero(~stated & ~known.all(axis=0))[:1].tolist():
        missing = ", ".join(name for name, has in zip(names(laws), known[:, i], strict=True) if not has)
        raise ConfigError(f"{place(i)}.cpu: {missing} missing; state them, or measured opps")
    for values in columns(laws):
        values[stated] = np.nan


def _opps(rows: Sequence[Sequence[OppFile]]) -> Opps:
    """Measured points in ascending order of clocks within each device."""
    start, points = starts(map(len, rows)), list(chain.from_iterable(rows))
    values = [column(points, name) for name in names(Opps)[1:]]
    order = np.lexsort((values[0], row_of(start)))
    return Opps(start, *(each[order] for each in values))


def _counts(rows: Sequence[Sequence[int]], classes: int, field: str, place: Place) -> np.ndarray:
    for i, row in enumerate(rows):
        if len(row) != classes:
            raise ConfigError(f"{place(i)}.{field}: {len(row)} classes, devices[0] has {classes}")
    return stacked(rows)


def device_files(devices: Devices) -> Iterator[DeviceFile]:
    """The devices of some columns as they stand in a file."""
    opps, levels = devices.opps, devices.levels
    points = [OppFile(*row) for row in zip(*(values.tolist() for values in columns(opps)[1:]), strict=True)]
    watts = levels.watts.tolist()
    laws = zip(*(values.tolist() for values in columns(devices.laws)), strict=True)
    radios = [
        RadioFile(RADIO_KINDS[kind], *numbers)
        for kind, *numbers in zip(*(values.tolist() for values in columns(devices.radios)), strict=True)
    ]
    rows = zip(
        devices.ids, devices.local_counts.tolist(), devices.storage_samples.tolist(), devices.upload_bits.tolist(),
        devices.power_idle_w.tolist(), laws, pairwise(opps.start.tolist()), radios,
        pairwise(levels.start.tolist()), devices.spreads.speed.tolist(), devices.spreads.gain.tolist(), strict=True,
    )  # fmt: skip
    for id_, counts, storage, bits, idle_w, law, (first, last), radio, (low, high), speed, gain in rows:
        yield DeviceFile(
            id=id_,
            local_counts=counts,
            storage_samples=storage,
            upload_bits=bits,
            cpu=CpuFile(idle_w, *law),
            opps=tuple(points[first:last]) if last > first else None,
            radio=structs.replace(radio, levels_w=tuple(watts[low:high])) if high > low else radio,
            spread=SpreadFile(speed, gain) if speed or gain else None,
        )


def shares_of(files: Sequence[ShareFile], place: Place, classes: int) -> Shares:
    """Columns of some shares of a plan; raises `ConfigError` where one has other than `classes` classes."""
    told = [file.executed for file in files]
    segments = list(chain.from_iterable(executed.segments for executed in told))
    executed = Executed(
        samples=np.array([executed.samples for executed in told], dtype=np.int64),
        segments=Segments(
            starts(len(executed.segments) for executed in told),
            column(segments, "freq_hz"),
            np.array([segment.samples for segment in segments], dtype=np.int64),
        ),
        compute_s=column(told, "compute_s"),
        compute_j=column(told, "compute_j"),
        uploads=_uploads(told, place),
    )
    return Shares(
        ids=tuple(file.id for file in files),
        executed=executed,
        synth_counts=_counts([file.synth_counts for file in files], classes, "synth_counts", place),
        **{name: column(files, name) for name in CONTINUOUS},
    )


def _uploads(told: Sequence[ExecutedFile], place: Place) -> Uploads | None:
    """The uploads that go with what is executed; None where none of them states any."""
    stated = [executed.upload_s is not None for executed in told]
    if not any(stated):
        return None
    for i, executed in enumerate(told):
        if None in (executed.upload_s, executed.bandwidth_hz, executed.upload_j):
            raise ConfigError(
                f"{place(i)}.executed: upload_s, bandwidth_hz and upload_j must all be there, as with other devices"
            )
    return Uploads(*(column(told, name) for name in names(Uploads)))


def share_files(shares: Shares) -> Iterator[ShareFile]:
    """The shares of some columns as they stand in a file."""
    executed, segments = shares.executed, shares.executed.segments
    told = [SegmentFile(*row) for row in zip(segments.freq_hz.tolist(), segments.samples.tolist(), strict=True)]
    continuous = zip(*(getattr(shares, name).tolist() for name in CONTINUOUS), strict=True)
    uploads: Iterable[tuple[float, ...]] = repeat((), len(shares))
    if executed.uploads is not None:
        uploads = zip(*(values.tolist() for values in columns(executed.uploads)), strict=True)
    rows = zip(
        shares.ids, shares.synth_counts.tolist(), executed.samples.tolist(), pairwise(segments.start.tolist()),
        executed.compute_s.tolist(), executed.compute_j.tolist(), uploads, continuous, strict=True,
    )  # fmt: skip
    for id_, counts, whole, (first, last), busy_s, busy_j, sent, numbers in rows:
        samples, compute_s, upload_s, band_hz, watts, compute_j, upload_j = numbers
        work = ExecutedFile(whole, tuple(told[first:last]), busy_s, busy_j, *sent)
        yield ShareFile(id_, samples, counts, compute_s, upload_s, band_hz, watts, compute_j, upload_j, work)
