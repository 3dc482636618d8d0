"""The planner, top to bottom: validate, ask whether it can be done, price, find, repair, make executable, check."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from server.plan.build import build_fleet
from server.plan.check import violations
from server.plan.compute_step import compute_joules
from server.plan.device_step import Points
from server.plan.diagnosis import NoPlanError
from server.plan.dual import Dual, prices_of
from server.plan.exact import solve_exact
from server.plan.feasible import most_accurate
from server.plan.fill import class_fill
from server.plan.fleet import Fleet
from server.plan.methods import Method, Report, find, refuse_method
from server.plan.moving import with_moved_uploads
from server.plan.nearest import explained
from server.plan.problem import Executed, Plan, PlanRecord, Problem, Shares
from server.plan.realise import realise
from server.plan.repair import kept, repair, tidy, without_spare
from server.plan.upload_step import told_power_w, upload_joules
from server.plan.validate import validate

_TOWARDS_SAFE = (
    1e-4,
    3e-4,
    1e-3,
    3e-3,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.4,
    0.7,
)  # how far points may move to make room for whole samples


def solve(
    problem: Problem,
    *,
    batch_size: int = 1,
    method: Method = "exact",
    evaluations: int | None = None,
    seed: int = 0,
    report: Report | None = None,
    on_step: Callable[[str], None] | None = None,
    warm: Plan | PlanRecord | None = None,
    move_uploads: bool = False,
) -> Plan:
    """The plan of least joules with its certificate; by `method`, with so many evaluations where it searches.

    The lower bound is the exact solver's, whatever the method; `seconds` are the method's own. A search draws from
    `seed` and tells `report` how far it is; Ctrl-C ends it with the best found so far. A device changes its clock only
    at the end of a batch of `batch_size`. `on_step` is called with the name of each step when it is done. Raises
    `ConfigError` for values that make no sense and `NoPlanError` (an `InfeasibleError`) with a diagnosis where no plan
    exists. `warm`, the plan of a similar problem, is where prices are sought first: it changes no plan, only the time.
    With `move_uploads` what is executed has uploads of its own, for which clocks change at the nearest batch.
    """
    done = on_step or (lambda _: None)
    validate(problem)
    refuse_method(problem, method, evaluations)
    done("validate")
    started = time.perf_counter()
    fleet = build_fleet(problem)
    done("build")
    try:
        solved = solve_exact(fleet, None if warm is None else _prices(fleet, warm))
    except NoPlanError as error:
        raise explained(fleet, error, partial(_at_best, batch_size=batch_size)) from None
    points, dual = solved.points, solved.dual
    if method != "exact":
        started = time.perf_counter()
        found = find(fleet, method, evaluations, seed, report)
        points = repair(fleet, found, lambda: most_accurate(fleet))
    seconds = time.perf_counter() - started
    done("solve")
    points, executed = executable(fleet, points, batch_size)
    if move_uploads:
        executed = with_moved_uploads(fleet, points, executed, dual.price_medium_j, batch_size)
    done("realise")
    bound = Bound(dual.bound_j, dual.price_error_j, dual.price_medium_j, dual.step.price_s_w)
    plan = plan_of(problem, fleet, points, executed, bound, method, seconds)
    done("fill")
    broken = violations(problem, plan)
    done("check")
    if broken:
        raise RuntimeError(f"the planner broke its own constraints (please report this): {'; '.join(broken[:5])}")
    return plan


def _prices(fleet: Fleet, plan: Plan | PlanRecord) -> Dual:
    """Those of a plan; with those of a second where it still has them, and for the same devices."""
    seconds_w = plan.price_s_w if isinstance(plan, Plan) and plan.devices.ids == fleet.ids else None
    return prices_of(plan.price_error_j, plan.price_bandwidth_j_per_hz, seconds_w)


def executable(fleet: Fleet, points: Points, batch_size: int) -> tuple[Points, Executed]:
    """The points with what boards can do of them; raises `NoPlanError` where whole samples cannot keep the target.

    At the edge of what is possible the uploads of least energy may leave no time for one whole sample more. Then the
    points move as little as need be towards those of least error; the plan's gap says what that costs.
    """
    try:
        return points, realise(fleet, points, batch_size)
    except NoPlanError:
        if fleet.links.leveled.any():  # between two levels there is nothing to move along
            raise
        safe = most_accurate(fleet)
    for weight in _TOWARDS_SAFE:
        moved = without_spare(fleet, tidy(fleet, points.blend(safe, weight)))
        moved = tidy(fleet, replace(moved, compute_s=fleet.round_s - moved.upload_s))
        if kept(fleet, moved):
            with suppress(NoPlanError):
                return moved, realise(fleet, moved, batch_size)
    return tidy(fleet, safe), _at_best(fleet, batch_size)


def _at_best(fleet: Fleet, batch_size: int) -> Executed:
    """What boards can do at the points of least error; raises `NoPlanError` where that is not enough."""
    return realise(fleet, tidy(fleet, most_accurate(fleet)), batch_size)


def relative_gap(energy_j: float, bound_j: float) -> float:
    """How far a plan can be from the optimum, relative to the greater of both."""
    return (energy_j - bound_j) / max(abs(energy_j), abs(bound_j))


@dataclass(frozen=True)
class Bound:
    """What no plan can cost less than, and the prices that prove it."""

    joules: float
    price_error_j: float
    price_medium_j: float
    price_s_w: np.ndarray


def plan_of(
    problem: Problem, fleet: Fleet, points: Points, executed: Executed, bound: Bound, method: str, seconds: float
) -> Plan:
    """The plan with its totals and classes."""
    compute_j = compute_joules(fleet, points.samples, points.compute_s)
    upload_j = upload_joules(fleet, points.upload_s, points.bandwidth_hz)
    energy_j = float(compute_j.sum() + upload_j.sum())
    sent_j = upload_j if executed.uploads is None else executed.uploads.upload_j
    executed_j = float(executed.compute_j.sum() + sent_j.sum())
    devices = problem.devices
    return Plan(
        method=method,
        energy_basis=problem.energy_basis,
        energy_j=energy_j,
        lower_bound_j=bound.joules,
        relative_gap=relative_gap(energy_j, bound.joules),
        executed_energy_j=executed_j,
        executed_gap=relative_gap(executed_j, bound.joules),
        price_error_j=bound.price_error_j,
        price_bandwidth_j_per_hz=bound.price_medium_j,
        price_s_w=bound.price_s_w,
        seconds=seconds,
        devices=Shares(
            ids=devices.ids,
            samples=points.samples,
            compute_s=points.compute_s,
            upload_s=points.upload_s,
            bandwidth_hz=points.bandwidth_hz,
            tx_power_w=told_power_w(fleet, points.upload_s, points.bandwidth_hz),
            compute_j=compute_j,
            upload_j=upload_j,
            executed=executed,
            synth_counts=class_fill(devices.local_counts, executed.samples - devices.local_samples),
        ),
    )
