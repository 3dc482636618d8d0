"""Planning again between rounds, by what the rounds have measured (closed_loop.py). `revise` is the rule, and pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import isnan

from server.closed_loop import DeviceBelief, Seen, believed_device, first_beliefs, learn_round
from server.config import Strategy
from server.errors import InfeasibleError
from server.plan.problem import Device, DevicePlan, OppTable
from server.records import Enrolled, RevisedPlan, RoundRecord, StrategyPlan
from server.run_plans import planner_devices, solve_plan
from server.steps import Run
from server.uplinks import seconds_now, upload_joules

WORTH_CHANGING = 0.01
"""A new plan must save this share of a round's joules: it may cost new shards, and beliefs waver."""

LATE = 0.02
"""A device may be believed to need so much more than the round, relatively, before a plan is changed for that alone."""


def believe(
    devices: Sequence[Device], records: Iterable[RoundRecord]
) -> tuple[dict[str, DeviceBelief], tuple[Seen, ...]]:
    """Beliefs folded over all rounds on record, and every measurement beside its prediction at that time."""
    beliefs, seen = first_beliefs(devices), list[Seen]()
    for record in records:
        accepted = [update for update in record.updates if record.verdicts.get(update.device) == "accepted"]
        paced = {id_: work.link for id_, work in record.planned.items() if work.link is not None}
        beliefs, more = learn_round(devices, beliefs, record.round, accepted, paced)
        seen += more
    return beliefs, tuple(seen)


def revise(
    present: StrategyPlan,
    devices: Sequence[Device],
    records: Sequence[RoundRecord],
    solve: Callable[[Sequence[Device]], StrategyPlan],
) -> RevisedPlan | None:
    """A better plan for the next round, or None: the present one is kept.

    `devices` as profiled; `solve` plans for given devices on the strategy's terms. Where no plan keeps the terms with
    the devices as they are now believed to be, the present one is kept: late it may be, but it trains.
    """
    beliefs, _ = believe(devices, records)
    now = [believed_device(device, beliefs[device.id]) for device in devices]
    try:
        fresh = solve(now)
    except InfeasibleError:
        return None
    basis = present.plan.energy_basis
    known = {device.id: device for device in now}
    upload_s = seconds_now(present.plan.devices, known)
    costs = {
        share.id: cost(share, known[share.id], upload_s[share.id], added=basis == "added")
        for share in present.plan.devices
    }
    present_j = sum(joules for joules, _ in costs.values())
    late = sorted(id_ for id_, (_, seconds) in costs.items() if seconds > present.round_s * (1 + LATE))
    number = records[-1].round + 1
    if late:
        return RevisedPlan(
            round=number,
            plan=fresh,
            reason=f"{', '.join(late)} would need longer than the round's {present.round_s:.1f} s",
        )
    saved = 1.0 - fresh.plan.executed_energy_j / present_j
    if saved < WORTH_CHANGING:
        return None
    return RevisedPlan(
        round=number,
        plan=fresh,
        reason=f"{present_j:.1f} J a round as now believed, {saved:.1%} less with the new plan",
    )


def cost(share: DevicePlan, device: Device, upload_s: float, *, added: bool) -> tuple[float, float]:
    """(joules, seconds) of a device's executed share of a round with an upload of `upload_s`, if the device is what
    `device` says."""
    table = device.cpu
    if not isinstance(table, OppTable):
        raise ValueError(f"{device.id} has no measured operating points")
    by_clock = {
        None if isnan(hz) else float(hz): (float(s), float(j) - (table.power_idle_w * float(s) if added else 0.0))
        for hz, s, j in zip(table.freq_hz, table.s_per_sample, table.j_per_sample, strict=True)
    }
    joules, seconds = upload_joules(device, upload_s, added=added), upload_s
    for segment in share.segments:
        per_sample_s, per_sample_j = by_clock[segment.freq_hz]
        seconds += segment.samples * per_sample_s
        joules += segment.samples * per_sample_j
    return joules, seconds


def replans(run: Run, plan: StrategyPlan) -> bool:
    """Whether a strategy's plan is to be revised: it is asked for, and the plan is the planner's own."""
    return run.config.plan.replan and plan.certified


def revise_plan(
    run: Run,
    strategy: Strategy,
    enrolled: tuple[Enrolled, ...],
    present: StrategyPlan,
    records: tuple[RoundRecord, ...],
) -> StrategyPlan | None:
    """`revise` for a run: what comes of it is kept in the run directory and said."""
    solve = partial(solve_plan, run, strategy, enrolled, warm=present.plan)
    revised = revise(present, planner_devices(run, enrolled), records, solve)
    if revised is None:
        return None
    run.folder.save_revision(strategy, revised)
    run.progress.say(f"{strategy}: a new plan from round {revised.round} on: {revised.reason}")
    return revised.plan
