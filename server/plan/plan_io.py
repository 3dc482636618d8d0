"""Problems and plans as JSON files: `fleet.json` and `plan.json`, strictly checked, SI units, None for "not known"."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from server.errors import ConfigError
from server.plan.problem import (
    AccuracyModel,
    AnalyticCpu,
    Device,
    DevicePlan,
    EnergyBasis,
    LearningCurve,
    OppTable,
    Plan,
    PlannedSegment,
    Problem,
    Radio,
    RadioKind,
)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a file."""


class CurveFile(_File, frozen=True, kw_only=True):
    alpha: float
    beta: float
    gamma: float


class CpuFile(_File, frozen=True, kw_only=True):
    """The analytic law; with measured `opps` only power_idle_w is read and the rest may be left out."""

    power_idle_w: float
    fixed_s_per_sample: float | None = None
    cycles_per_sample: float | None = None
    power_static_w: float | None = None
    kappa_w_per_hz3: float | None = None
    freq_min_hz: float | None = None
    freq_max_hz: float | None = None


class OppFile(_File, frozen=True, kw_only=True):
    """One measured operating point; whole-board joules."""

    freq_hz: float
    s_per_sample: float
    j_per_sample: float


class RadioFile(_File, frozen=True, kw_only=True):
    kind: RadioKind
    gain_over_noise_hz_per_w: float | None = None
    tx_power_max_w: float | None = None
    tx_power_w: float | None = None
    levels_w: tuple[float, ...] | None = None
    amplifier_efficiency: float = 1.0
    overhead_w: float = 0.0
    link_bits_per_s: float | None = None


class DeviceFile(_File, frozen=True, kw_only=True):
    id: str
    local_counts: tuple[int, ...]
    storage_samples: int
    upload_bits: float
    cpu: CpuFile
    opps: tuple[OppFile, ...] | None = None
    radio: RadioFile


class FleetFile(_File, frozen=True, kw_only=True):
    """`fleet.json`: a whole problem."""

    local_epochs: int
    round_s: float
    bandwidth_hz: float | None = None
    target_error: float | None = None
    energy_basis: EnergyBasis = "added"
    accuracy_model: AccuracyModel = "device_mean"
    learning_curve: CurveFile
    synthetic_value: float
    devices: tuple[DeviceFile, ...]


class SegmentFile(_File, frozen=True, kw_only=True):
    freq_hz: float
    samples: int


class ExecutedFile(_File, frozen=True, kw_only=True):
    samples: int
    segments: tuple[SegmentFile, ...]
    compute_s: float
    compute_j: float


class DevicePlanFile(_File, frozen=True, kw_only=True):
    id: str
    samples: float
    synth_counts: tuple[int, ...]
    compute_s: float
    upload_s: float
    bandwidth_hz: float
    tx_power_w: float | None
    compute_j: float
    upload_j: float
    executed: ExecutedFile


class PlanFile(_File, frozen=True, kw_only=True):
    """`plan.json`: a plan with its certificate."""

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
    devices: tuple[DevicePlanFile, ...]


F = TypeVar("F", FleetFile, PlanFile)


def encode_problem(problem: Problem) -> bytes:
    """A problem as indented JSON."""
    return _encode(
        FleetFile(
            local_epochs=problem.local_epochs,
            round_s=problem.round_s,
            bandwidth_hz=problem.bandwidth_hz,
            target_error=problem.target_error,
            energy_basis=problem.energy_basis,
            accuracy_model=problem.accuracy_model,
            learning_curve=_copy(CurveFile, problem.learning_curve),
            synthetic_value=problem.synthetic_value,
            devices=tuple(_device_file(device) for device in problem.devices),
        )
    )


def decode_problem(payload: bytes, name: str = "fleet.json") -> Problem:
    """JSON back into a problem; raises `ConfigError` with the file's name and the path of what does not fit."""
    file = _decode(payload, FleetFile, name)
    return Problem(
        devices=tuple(_device(device, f"{name}: devices[{i}]") for i, device in enumerate(file.devices)),
        round_s=file.round_s,
        local_epochs=file.local_epochs,
        target_error=file.target_error,
        learning_curve=_copy(LearningCurve, file.learning_curve),
        synthetic_value=file.synthetic_value,
        energy_basis=file.energy_basis,
        accuracy_model=file.accuracy_model,
        bandwidth_hz=file.bandwidth_hz,
    )


def encode_plan(plan: Plan) -> bytes:
    """A plan as indented JSON."""
    devices = tuple(
        DevicePlanFile(
            executed=ExecutedFile(
                samples=share.executed_samples,
                segments=tuple(_copy(SegmentFile, segment) for segment in share.segments),
                compute_s=share.executed_compute_s,
                compute_j=share.executed_compute_j,
            ),
            **_fields(DevicePlanFile, share, leave_out="executed"),
        )
        for share in plan.devices
    )
    return _encode(PlanFile(devices=devices, **_fields(PlanFile, plan, leave_out="devices")))


def decode_plan(payload: bytes, name: str = "plan.json") -> Plan:
    """JSON back into a plan; raises `ConfigError` with the file's name and the path of what does not fit."""
    file = _decode(payload, PlanFile, name)
    devices = tuple(
        DevicePlan(
            executed_samples=share.executed.samples,
            segments=tuple(_copy(PlannedSegment, segment) for segment in share.executed.segments),
            executed_compute_s=share.executed.compute_s,
            executed_compute_j=share.executed.compute_j,
            **_fields(DevicePlanFile, share, leave_out="executed"),
        )
        for share in file.devices
    )
    return Plan(devices=devices, **_fields(PlanFile, file, leave_out="devices"))


def save_problem(problem: Problem, path: Path) -> None:
    path.write_bytes(encode_problem(problem))


def load_problem(path: Path) -> Problem:
    return decode_problem(path.read_bytes(), str(path))


def save_plan(plan: Plan, path: Path) -> None:
    path.write_bytes(encode_plan(plan))


def load_plan(path: Path) -> Plan:
    return decode_plan(path.read_bytes(), str(path))


def _encode(file: FleetFile | PlanFile) -> bytes:
    plain = msgspec.json.encode(file, enc_hook=lambda number: number.item())  # numpy's scalars
    return msgspec.json.format(plain, indent=1)


def _decode(payload: bytes, type_: type[F], name: str) -> F:
    try:
        return msgspec.json.decode(payload, type=type_)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{name}: {error}") from error


def _fields(type_: type[msgspec.Struct], source: object, leave_out: str = "") -> dict:
    """The attributes of `source` that bear the names of the struct's fields."""
    return {name: getattr(source, name) for name in type_.__struct_fields__ if name != leave_out}


def _copy(type_, source):  # type: ignore[no-untyped-def]
    """A value of `type_` from one with the same field names."""
    names = getattr(type_, "__struct_fields__", None) or tuple(type_.__dataclass_fields__)
    return type_(**{name: getattr(source, name) for name in names})


def _device_file(device: Device) -> DeviceFile:
    cpu = device.cpu
    opps = None
    if isinstance(cpu, OppTable):
        rows = zip(cpu.freq_hz.tolist(), cpu.s_per_sample.tolist(), cpu.j_per_sample.tolist(), strict=True)
        opps = tuple(OppFile(freq_hz=f, s_per_sample=s, j_per_sample=j) for f, s, j in rows)
        cpu_file = CpuFile(power_idle_w=cpu.power_idle_w)
    else:
        cpu_file = _copy(CpuFile, cpu)
    return DeviceFile(
        id=device.id,
        local_counts=tuple(int(count) for count in device.local_counts),
        storage_samples=device.storage_samples,
        upload_bits=device.upload_bits,
        cpu=cpu_file,
        opps=opps,
        radio=_copy(RadioFile, device.radio),
    )


def _device(file: DeviceFile, where: str) -> Device:
    cpu: AnalyticCpu | OppTable
    if file.opps is not None:
        points = sorted(file.opps, key=lambda opp: opp.freq_hz)
        freq, seconds, joules = (
            np.array([getattr(opp, field) for opp in points], dtype=float)
            for field in ("freq_hz", "s_per_sample", "j_per_sample")
        )
        cpu = OppTable(freq, seconds, joules, file.cpu.power_idle_w)
    else:
        missing = [name for name in CpuFile.__struct_fields__ if getattr(file.cpu, name) is None]
        if missing:
            raise ConfigError(f"{where}.cpu: {', '.join(missing)} missing; state them, or measured opps")
        cpu = _copy(AnalyticCpu, file.cpu)
    return Device(
        id=file.id,
        local_counts=np.array(file.local_counts, dtype=np.int64),
        storage_samples=file.storage_samples,
        upload_bits=file.upload_bits,
        cpu=cpu,
        radio=_copy(Radio, file.radio),
    )
