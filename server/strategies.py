"""The four strategies as plans, from what was measured on the devices. Pure.

    tfl      local data only, clocks from the exact planner (target_error None)
    fimi     synthetic data and clocks from the exact planner, together
    fill     fimi's synthetic data, everything at top clock and power
    tfl-top  local data only, everything at top clock and power: for orientation

All four keep the same round_s, so that they are compared on equal terms. A device whose joules are not known cannot be
planned: tfl and tfl-top have it train at its board's own clock, the others refuse it (unplanned.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_client.protocol.messages import Join
from models import learning_curve
from server.clocks import by_clock
from server.config import PlanConfig, Strategy
from server.errors import FleetError, InfeasibleError
from server.plan.problem import (
    AccuracyModel,
    Device,
    DevicePlan,
    EnergyBasis,
    LearningCurve,
    OppTable,
    Plan,
    PlannedSegment,
    PlanRecord,
    Problem,
    Radio,
)
from server.run_dir import Enrolled, OwnPace, PlannedWork, StrategyPlan
from server.unplanned import check_pace

NO_CURVE = LearningCurve(alpha=1.0, beta=1.0, gamma=0.0)
"""Stands where a problem without an error target needs none."""

Solve = Callable[[Problem], Plan]
"""The exact planner."""


@dataclass(frozen=True)
class Terms:
    """What all strategies of a run are held to. `target_error` is None in a run without synthetic samples; what it is
    an error of, tells `accuracy_model`."""

    round_s: float
    target_error: float | None
    learning_curve: LearningCurve
    synthetic_value: float
    local_epochs: int
    energy_basis: EnergyBasis
    accuracy_model: AccuracyModel = "device_mean"


# ---- devices as the planner sees them ----------------------------------------------------------------------------


MOST_SAMPLES = 2**31 - 1
"""Of a device; more than any has, and whoever claims more would break sums over the fleet."""


def planner_device(enrolled: Enrolled, storage_limit: int | None) -> Device:
    """A device from its measurements; raises FleetError where they do not carry a plan.

    An upload whose power could not be measured is planned as free, see `unmeasured_uploads`.
    """
    join = enrolled.join
    if sum(join.label_counts) > MOST_SAMPLES:
        raise FleetError(
            f"{join.device} says it has {sum(join.label_counts)} samples: no device has over {MOST_SAMPLES}"
        )
    storage = join.storage_samples if storage_limit is None else min(join.storage_samples, storage_limit)
    return Device(
        id=join.device,
        local_counts=np.array(join.label_counts, dtype=np.int32),
        storage_samples=storage,
        upload_bits=float(enrolled.link.up_bits),
        cpu=opp_table(enrolled),
        radio=Radio(kind="wired", overhead_w=enrolled.link.power_w or 0.0, link_bits_per_s=enrolled.link.up_bits_per_s),
    )


def unmeasured_uploads(enrolled: Iterable[Enrolled]) -> tuple[str, ...]:
    """Ids of devices whose power while sending could not be measured: their plans count no joules for the upload."""
    return tuple(device.id for device in enrolled if device.link.power_w is None and measured_table(device) is not None)


def opp_table(enrolled: Enrolled) -> OppTable:
    """`measured_table`; raises FleetError where there is none."""
    table = measured_table(enrolled)
    if table is None:
        raise FleetError(no_joules(enrolled.join))
    return table


def no_joules(join: Join) -> str:
    """Why a device cannot be planned, and both remedies."""
    return (
        f"{join.device} has no power meter (meter: {join.capabilities.meter}): no plan without joules; give it a meter "
        "that `fimi-client doctor` finds, or `calibration` in its client.toml (fimi-calibrate makes it), or leave the "
        'device out; strategy = "tfl" alone needs no joules'
    )


def measured_table(enrolled: Enrolled) -> OppTable | None:
    """The measured points, each under the clock that the board ran at, and those of its calibration; None where joules
    or the idle floor are not known. The planner takes their convex hull; there may be a single one.

    Starved points are left out where two sound ones remain. Else they are all there is: they show the board slower and
    dearer than it is, the report says so, and the run's own starved share decides whether it may be compared.
    """
    idle_w = enrolled.profile.idle.idle_power_w
    points = by_clock(enrolled.profile.points, enrolled.join.capabilities.opps_hz)
    sound = [point for point in points if not point.starved]
    sound = sound if len(sound) >= 2 else points
    if idle_w is None or not sound or any(point.j_per_sample is None for point in sound):
        return None
    foretold = enrolled.calibration.points if enrolled.calibration is not None else ()
    rows = [(_or_nan(point.freq_hz), point.s_per_sample, point.j_per_sample or 0.0) for point in sound]
    rows = sorted([*rows, *((point.freq_hz, point.s_per_sample, point.j_per_sample) for point in foretold)])
    freq_hz, s_per_sample, j_per_sample = np.array(rows).T
    return OppTable(freq_hz=freq_hz, s_per_sample=s_per_sample, j_per_sample=j_per_sample, power_idle_w=idle_w)


def _or_nan(freq_hz: float | None) -> float:
    """A clock in the planner's arrays, where NaN stands for one that is not known."""
    return np.nan if freq_hz is None else freq_hz


def pick_freqs(opps_hz: Sequence[float], wanted: int, slowest: float) -> tuple[float, ...]:
    """`wanted` of a board's operating points from `slowest` (a share of the highest) up, evenly spread, falling.

    The highest comes first: whatever a runtime does only once is then done at full speed.
    """
    top = max(opps_hz, default=0.0)
    opps = sorted((f for f in opps_hz if f >= slowest * top), reverse=True)
    if len(opps) <= wanted:
        return tuple(opps)
    return tuple(opps[i] for i in np.linspace(0, len(opps) - 1, wanted).round().astype(int))


# ---- terms -------------------------------------------------------------------------------------------------------


def settle_terms(
    devices: Sequence[Device],
    plan: PlanConfig,
    *,
    learning: tuple[LearningCurve, float] | None,
    local_epochs: int,
    unplanned: Sequence[OwnPace] = (),
) -> Terms:
    """Round time and error target as configured, or as the measured devices allow (see config.PlanConfig).

    `learning` is the measured curve and eta; None where no strategy of the run uses synthetic samples. `unplanned` are
    devices beside `devices`, which only a run without synthetic samples has.
    """
    curve, synthetic_value = learning if learning is not None else (NO_CURVE, 1.0)
    local = np.array([device.local_samples for device in devices], dtype=float)
    room = np.array([device.storage_samples for device in devices], dtype=float)
    filled = local if learning is None else local + np.minimum(room, (plan.fill_factor - 1.0) * local)
    error = None
    if learning is not None:
        x = learning_curve.effective_samples(local, filled, synthetic_value)
        pooled = plan.accuracy_model == "pooled"
        error = float(learning_curve.error(x.mean() if pooled else x, curve.alpha, curve.beta, curve.gamma).mean())
    least_s = [
        top_point(device)[1] * n * local_epochs + upload_seconds(device)
        for device, n in zip(devices, filled, strict=True)
    ]
    least_s += [own.compute_s + own.upload_s for own in unplanned]
    return Terms(
        round_s=plan.round_s if plan.round_s is not None else plan.round_slack * float(max(least_s)),
        target_error=None if learning is None else plan.target_error or error,
        learning_curve=curve,
        synthetic_value=synthetic_value,
        local_epochs=local_epochs,
        energy_basis=plan.energy_basis,
        accuracy_model=plan.accuracy_model,
    )


def top_point(device: Device) -> tuple[float | None, float, float]:
    """(Hz, seconds a sample, whole-board joules a sample) at a device's highest measured clock; None Hz: not known."""
    if not isinstance(device.cpu, OppTable):
        raise InfeasibleError(f"{device.id} has no measured operating points")
    at = int(np.argmax(device.cpu.freq_hz))
    freq_hz = float(device.cpu.freq_hz[at])
    seconds, joules = float(device.cpu.s_per_sample[at]), float(device.cpu.j_per_sample[at])
    return None if np.isnan(freq_hz) else freq_hz, seconds, joules


def upload_seconds(device: Device) -> float:
    """Of a wired device."""
    return device.upload_bits / (device.radio.link_bits_per_s or np.inf)


# ---- plans -------------------------------------------------------------------------------------------------------


def plan_strategy(
    strategy: Strategy, devices: Sequence[Device], terms: Terms, solve: Solve, unplanned: Sequence[OwnPace] = ()
) -> StrategyPlan:
    """The plan of one strategy; raises InfeasibleError where no plan keeps the terms.

    `unplanned` are devices beside `devices`: FleetError where the strategy cannot do with them.
    """
    with_synthetic = strategy in ("fimi", "fill")
    check_pace(strategy, unplanned, terms.round_s)
    if not devices:
        plan = at_top_clock(devices, {}, terms)
    elif strategy == "tfl-top":
        counts = {device.id: (0,) * len(device.local_counts) for device in devices}
        plan = at_top_clock(devices, counts, terms)
    else:
        plan = solve(problem_of(devices, terms, with_synthetic=with_synthetic)).record()
        if strategy == "fill":
            plan = at_top_clock(devices, {d.id: d.synth_counts for d in plan.devices}, terms)
    return StrategyPlan(
        strategy=strategy,
        round_s=terms.round_s,
        target_error=terms.target_error if with_synthetic else None,
        plan=plan,
        certified=strategy in ("fimi", "tfl") and not unplanned,
        unplanned=tuple(unplanned),
    )


def problem_of(devices: Sequence[Device], terms: Terms, *, with_synthetic: bool) -> Problem:
    """P1 for these devices."""
    return Problem.of(
        devices,
        round_s=terms.round_s,
        local_epochs=terms.local_epochs,
        target_error=terms.target_error if with_synthetic else None,
        learning_curve=terms.learning_curve,
        synthetic_value=terms.synthetic_value,
        energy_basis=terms.energy_basis,
        accuracy_model=terms.accuracy_model,
    )


def at_top_clock(devices: Sequence[Device], synth_counts: dict[str, tuple[int, ...]], terms: Terms) -> PlanRecord:
    """The same data at the highest measured clock in one segment; it certifies nothing (bound 0, gap 1)."""
    plans = tuple(_top_device(device, synth_counts[device.id], terms) for device in devices)
    energy_j = sum(plan.compute_j + plan.upload_j for plan in plans)
    return PlanRecord(
        method="top-clock",
        energy_basis=terms.energy_basis,
        energy_j=energy_j,
        lower_bound_j=0.0,
        relative_gap=1.0,
        executed_energy_j=energy_j,
        executed_gap=1.0,
        price_error_j=0.0,
        price_bandwidth_j_per_hz=0.0,
        seconds=0.0,
        devices=plans,
    )


def _top_device(device: Device, synth_counts: tuple[int, ...], terms: Terms) -> DevicePlan:
    freq_hz, tau_s, joules = top_point(device)
    idle_w = device.cpu.power_idle_w
    added = terms.energy_basis == "added"
    samples = device.local_samples + sum(synth_counts)
    trained = samples * terms.local_epochs
    upload_s = upload_seconds(device)
    compute_j = trained * (joules - (idle_w * tau_s if added else 0.0))
    return DevicePlan(
        id=device.id,
        samples=float(samples),
        compute_s=trained * tau_s,
        upload_s=upload_s,
        bandwidth_hz=0.0,
        tx_power_w=device.radio.tx_power_max_w,
        compute_j=compute_j,
        upload_j=upload_s * (device.radio.overhead_w + (0.0 if added else idle_w)),
        executed_samples=samples,
        segments=(PlannedSegment(freq_hz, trained),),
        executed_compute_s=trained * tau_s,
        executed_compute_j=compute_j,
        synth_counts=tuple(int(n) for n in synth_counts),
    )


def planned_work(plan: DevicePlan | OwnPace) -> PlannedWork:
    """What a device's round should cost as executed."""
    if isinstance(plan, OwnPace):
        return PlannedWork(
            compute_j=None, upload_j=None, compute_s=plan.compute_s, upload_s=plan.upload_s, samples=plan.samples
        )
    return PlannedWork(
        compute_j=plan.executed_compute_j,
        upload_j=plan.upload_j,
        compute_s=plan.executed_compute_s,
        upload_s=plan.upload_s,
        samples=plan.executed_samples,
    )
