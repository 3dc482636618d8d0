"""The four strategies as plans, from what was measured on the devices. Pure.

    tfl      local data only, clocks from the exact planner (target_error None)
    fimi     synthetic data and clocks from the exact planner, together
    fill     fimi's synthetic data, everything at top clock and power
    tfl-top  local data only, everything at top clock and power: for orientation

All four keep the same round_s, so that they are compared on equal terms. A device whose joules are not known cannot be
planned: tfl and tfl-top have it train at its board's own clock, the others refuse it (unplanned.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models import learning_curve
from server import uplinks
from server.config import PlanConfig, Strategy
from server.measured import top_point
from server.plan.problem import (
    AccuracyModel,
    Device,
    DevicePlan,
    EnergyBasis,
    LearningCurve,
    Plan,
    PlannedSegment,
    PlanRecord,
    Problem,
)
from server.records import LinkShare, OwnPace, PlannedWork, StrategyPlan
from server.unplanned import check_pace
from server.uplinks import unplanned_seconds

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
        top_point(device)[1] * n * local_epochs + upload_s
        for device, n, upload_s in zip(devices, filled, unplanned_seconds(devices).values(), strict=True)
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
        plan = _untold(solve(problem_of(devices, terms, with_synthetic=with_synthetic)).record())
        if strategy == "fill":
            plan = at_top_clock(devices, {d.id: d.synth_counts for d in plan.devices}, terms)
    planned = strategy in ("fimi", "tfl")
    link = {own.id: own.link for own in unplanned if own.link is not None} | uplinks.shares(devices, plan.devices)
    return StrategyPlan(
        strategy=strategy,
        round_s=terms.round_s,
        target_error=terms.target_error if with_synthetic else None,
        plan=plan,
        certified=planned and not unplanned,
        unplanned=tuple(unplanned),
        link=link if planned else {},
    )


def _untold(plan: PlanRecord) -> PlanRecord:
    """The plan without transmit powers: on a shared link those are the watts that a radio was measured to draw, and
    what it radiates is its own."""
    return replace(plan, devices=tuple(replace(share, tx_power_w=None) for share in plan.devices))


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
    seconds = unplanned_seconds(devices)
    plans = tuple(_top_device(device, synth_counts[device.id], seconds[device.id], terms) for device in devices)
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


def _top_device(device: Device, synth_counts: tuple[int, ...], upload_s: float, terms: Terms) -> DevicePlan:
    freq_hz, tau_s, joules = top_point(device)
    idle_w = device.cpu.power_idle_w
    added = terms.energy_basis == "added"
    samples = device.local_samples + sum(synth_counts)
    trained = samples * terms.local_epochs
    compute_j = trained * (joules - (idle_w * tau_s if added else 0.0))
    return DevicePlan(
        id=device.id,
        samples=float(samples),
        compute_s=trained * tau_s,
        upload_s=upload_s,
        bandwidth_hz=0.0,
        tx_power_w=None,
        compute_j=compute_j,
        upload_j=uplinks.upload_joules(device, upload_s, added=added),
        executed_samples=samples,
        segments=(PlannedSegment(freq_hz, trained),),
        executed_compute_s=trained * tau_s,
        executed_compute_j=compute_j,
        synth_counts=tuple(int(n) for n in synth_counts),
    )


def planned_work(plan: DevicePlan | OwnPace, link: LinkShare | None = None) -> PlannedWork:
    """What a device's round should cost as executed; `link` where its upload is paced."""
    if isinstance(plan, OwnPace):
        return PlannedWork(
            compute_j=None,
            upload_j=None,
            compute_s=plan.compute_s,
            upload_s=plan.upload_s,
            samples=plan.samples,
            link=link,
        )
    return PlannedWork(
        compute_j=plan.executed_compute_j,
        upload_j=plan.upload_j,
        compute_s=plan.executed_compute_s,
        upload_s=plan.upload_s,
        samples=plan.executed_samples,
        link=link,
    )
