"""The exact planner, top to bottom: validate, ask whether it can be done, price, repair, make executable, check."""

from __future__ import annotations

import time

import numpy as np

from models import radio
from server.plan.check import violations
from server.plan.compute_step import compute_joules
from server.plan.device_step import Points
from server.plan.dual import Dual, solve_dual
from server.plan.feasible import most_accurate
from server.plan.fill import class_fill
from server.plan.fleet import Fleet, build_fleet
from server.plan.problem import DevicePlan, Plan, Problem
from server.plan.realise import Executed, realise
from server.plan.repair import repair
from server.plan.upload_step import upload_joules
from server.plan.validate import validate


def solve(problem: Problem, *, batch_size: int = 1) -> Plan:
    """The plan of least joules with its certificate, for fleets up to thousands of devices.

    `batch_size` only moves the border between a device's two segments to the end of a batch. Raises `ConfigError` for
    values that make no sense and `NoPlanError` (an `InfeasibleError`) with a diagnosis where no plan exists.
    """
    validate(problem)
    started = time.perf_counter()
    fleet = build_fleet(problem)
    safe = most_accurate(fleet)
    dual = solve_dual(fleet)
    points = repair(fleet, dual.step.points, safe)
    seconds = time.perf_counter() - started
    executed = realise(fleet, points, batch_size)
    plan = _plan(problem, fleet, points, dual, executed, seconds)
    broken = violations(problem, plan)
    if broken:
        raise RuntimeError(f"the planner broke its own constraints (please report this): {'; '.join(broken[:5])}")
    return plan


def relative_gap(energy_j: float, bound_j: float) -> float:
    """How far a plan can be from the optimum, relative to the greater of both."""
    return (energy_j - bound_j) / max(abs(energy_j), abs(bound_j))


def _plan(problem: Problem, fleet: Fleet, points: Points, dual: Dual, executed: list[Executed], seconds: float) -> Plan:
    compute_j = compute_joules(fleet, points.samples, points.compute_s)
    upload_j = upload_joules(fleet, points.upload_s, points.bandwidth_hz)
    energy_j = float(compute_j.sum() + upload_j.sum())
    executed_j = float(sum(done.compute_j for done in executed) + upload_j.sum())
    tx_power = _tx_power_w(fleet, points)
    devices = tuple(
        DevicePlan(
            id=device.id,
            samples=float(points.samples[i]),
            compute_s=float(points.compute_s[i]),
            upload_s=float(points.upload_s[i]),
            bandwidth_hz=float(points.bandwidth_hz[i]),
            tx_power_w=tx_power[i],
            compute_j=float(compute_j[i]),
            upload_j=float(upload_j[i]),
            executed_samples=executed[i].samples,
            segments=executed[i].segments,
            executed_compute_s=executed[i].compute_s,
            executed_compute_j=executed[i].compute_j,
            synth_counts=tuple(
                int(n) for n in class_fill(device.local_counts, executed[i].samples - device.local_samples)
            ),
        )
        for i, device in enumerate(problem.devices)
    )
    return Plan(
        method="exact",
        energy_basis=problem.energy_basis,
        energy_j=energy_j,
        lower_bound_j=dual.bound_j,
        relative_gap=relative_gap(energy_j, dual.bound_j),
        executed_energy_j=executed_j,
        executed_gap=relative_gap(executed_j, dual.bound_j),
        price_error_j=dual.price_error_j,
        price_bandwidth_j_per_hz=dual.price_medium_j,
        seconds=seconds,
        devices=devices,
    )


def _tx_power_w(fleet: Fleet, points: Points) -> list[float | None]:
    """Radiated watts of every device: chosen, fixed, or None where the radio has none to tell."""
    links = fleet.links
    chosen = np.full(len(fleet), np.nan)
    on = links.scheduled
    law = (fleet.upload_bits[on], points.bandwidth_hz[on], points.upload_s[on], links.noise_w_per_hz[on])
    chosen[on] = np.minimum(radio.tx_power_w(*law), links.power_w[on])
    stated = links.fixed_power | (links.shared & (links.power_w > 0))
    chosen[stated] = links.power_w[stated]
    return [None if np.isnan(watts) else float(watts) for watts in chosen]
