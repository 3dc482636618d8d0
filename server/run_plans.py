"""The planning of a run: who takes part, on which terms, and a plan for each strategy, from files to files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from server import measured
from server.config import PlanConfig, Strategy
from server.errors import InfeasibleError
from server.measured import measured_table, opp_table, unmeasured_uploads
from server.outlay import Choice, choose, describe, load_curves, with_fill_factor
from server.plan.diagnosis import named
from server.plan.problem import Device, PlanRecord
from server.run_dir import Enrolled, OwnPace, StrategyPlan
from server.sources import (
    learning_values,
    needs_synthetic,
)
from server.steps import Run
from server.strategies import Terms, plan_strategy, problem_of, settle_terms
from server.unplanned import check_pace, needs_joules, own_pace
from server.uplinks import at_once


def participants(run: Run, enrolled: tuple[Enrolled, ...]) -> tuple[Enrolled, ...]:
    """The devices that every strategy plans for: all, or with `drop_infeasible` those that a plan can be made for.

    Who is left out stands in left-out.json with the reason, and stays out when the run goes on.
    """
    if run.folder.has("left-out.json"):
        out = run.folder.load("left-out.json", dict[str, str])
        return tuple(device for device in enrolled if device.id not in out)
    kept, out = choose_participants(run, enrolled)
    if out:
        run.folder.save("left-out.json", out)
    return kept


def choose_participants(run: Run, enrolled: tuple[Enrolled, ...]) -> tuple[tuple[Enrolled, ...], dict[str, str]]:
    """Who is planned for, and by name who is left out and why; nothing is written."""
    if not run.drop_infeasible:
        return enrolled, {}
    from server.plan.diagnosis import NoPlanError
    from server.plan.solve import solve

    out: dict[str, str] = {}
    kept = enrolled
    while True:
        try:
            terms, devices = terms_of(run, kept), planner_devices(run, kept)
            check_pace("tfl", unplanned(run, kept), terms.round_s)
            if devices:
                solve(problem_of(devices, terms, with_synthetic=needs_synthetic(run.config)))
        except NoPlanError as error:
            fewer = tuple(device for device in kept if device.id not in error.devices)
            if not fewer or len(fewer) == len(kept):
                raise
            out |= dict.fromkeys(error.devices, str(error))
            run.progress.say(f"left out: {', '.join(error.devices)} ({error})")
            kept = fewer
            continue
        return kept, out


def planner_devices(run: Run, enrolled: tuple[Enrolled, ...]) -> list[Device]:
    """Those whose joules are known; FleetError where a run whose strategies need joules has others."""
    if needs_joules(run.config.strategies):
        for device in enrolled:
            opp_table(device)
    return measured.planner_devices(enrolled, run.config.plan.storage_samples, run.config.fleet.shared_link_bits_per_s)


def unplanned(run: Run, enrolled: tuple[Enrolled, ...]) -> list[OwnPace]:
    """The others."""
    if needs_joules(run.config.strategies):
        return []
    links = at_once({device.id: device.link for device in enrolled}, run.config.fleet.shared_link_bits_per_s)
    return [
        own_pace(device, run.config.training.local_epochs, links.get(device.id))
        for device in enrolled
        if measured_table(device) is None
    ]


def make_plan(run: Run, strategy: Strategy, enrolled: tuple[Enrolled, ...]) -> StrategyPlan:
    """The strategy's plan, from its file or solved now."""
    if run.folder.has(f"plan-{strategy}.json"):
        return run.folder.current_plan(strategy)
    keep_outlay(run, enrolled)
    plan = solve_plan(run, strategy, enrolled)
    run.folder.save_plan(plan)
    run.progress.say(describe_plan(plan))
    return plan


def solve_plan(
    run: Run,
    strategy: Strategy,
    enrolled: tuple[Enrolled, ...],
    now: Sequence[Device] | None = None,
    warm: PlanRecord | None = None,
) -> StrategyPlan:
    """The strategy's plan for these devices; nothing is written. `now`: as they are believed to be by now; `warm`: the
    plan so far, near which the new one is sought."""
    from server.plan.solve import solve

    if now is None and (unknown := unmeasured_uploads(enrolled)):
        run.progress.say(f"the upload power of {', '.join(unknown)} could not be measured: {strategy} plans it as free")
    exact = partial(solve, batch_size=run.config.training.batch_size, warm=warm)
    devices, others = now or planner_devices(run, enrolled), unplanned(run, enrolled)
    return plan_strategy(strategy, devices, terms_of(run, enrolled), exact, others)


def plan_anew(run: Run, strategies: Sequence[Strategy]) -> None:
    """Solve these strategies again. What is on disk is replaced once all of them are solved, and not before."""
    enrolled = run.folder.devices()
    if any(run.folder.rounds(strategy) for strategy in run.config.strategies):
        kept, out = participants(run, enrolled), None
    else:  # none begun: who is left out may change as well
        kept, out = choose_participants(run, enrolled)
    plans = [solve_plan(run, strategy, kept) for strategy in strategies]
    if out:
        run.folder.save("left-out.json", out)
    elif out is not None:
        run.folder.remove("left-out.json")
    for plan in plans:
        run.folder.save_plan(plan)
        run.progress.say(describe_plan(plan))


def plan_settings(run: Run, enrolled: tuple[Enrolled, ...]) -> PlanConfig:
    """[plan] as it is, or with the amount of data that reaches plan.target_accuracy for the least predicted joules."""
    if run.config.plan.target_accuracy is None or not needs_synthetic(run.config):
        return run.config.plan
    return with_fill_factor(run.config.plan, choose_outlay(run, enrolled).fill_factor)


def choose_outlay(run: Run, enrolled: tuple[Enrolled, ...]) -> Choice:
    """outlay.json, or the choice made now; not written here."""
    if run.folder.has("outlay.json"):
        return run.folder.load("outlay.json", Choice)
    from server.plan.solve import solve

    assert run.config.plan.target_accuracy is not None
    devices, learning = planner_devices(run, enrolled), learning_values(run.config, run.base)

    def round_j(fill_factor: float) -> float | None:
        plan = with_fill_factor(run.config.plan, fill_factor)
        terms = settle_terms(devices, plan, learning=learning, local_epochs=run.config.training.local_epochs)
        try:
            return plan_strategy("fimi", devices, terms, solve).plan.executed_energy_j
        except InfeasibleError:
            return None

    return choose(load_curves(run.config, run.base), round_j, run.config.plan.target_accuracy)


def keep_outlay(run: Run, enrolled: tuple[Enrolled, ...]) -> None:
    """Put the choice on record, once."""
    if run.config.plan.target_accuracy is None or not needs_synthetic(run.config) or run.folder.has("outlay.json"):
        return
    choice = choose_outlay(run, enrolled)
    run.folder.save("outlay.json", choice)
    run.progress.say(describe(choice))


def terms_of(run: Run, enrolled: tuple[Enrolled, ...]) -> Terms:
    """What every plan of the run is held to."""
    return settle_terms(
        planner_devices(run, enrolled),
        plan_settings(run, enrolled),
        learning=learning_values(run.config, run.base) if needs_synthetic(run.config) else None,
        local_epochs=run.config.training.local_epochs,
        unplanned=unplanned(run, enrolled),
    )


def describe_plan(plan: StrategyPlan) -> str:
    """One line: joules, data, certificate."""
    synthetic = sum(sum(device.synth_counts) for device in plan.plan.devices)
    samples = sum(device.executed_samples for device in plan.plan.devices)
    samples += sum(own.samples for own in plan.unplanned)
    # A gap below zero by rounding is none.
    gap = f", within {max(plan.plan.executed_gap, 0.0):.2%} of the bound" if plan.certified else ""
    joules = f"{plan.plan.executed_energy_j:.1f} J {plan.plan.energy_basis}"
    others = ""
    if plan.unplanned:
        known, ids = len(plan.plan.devices), tuple(own.id for own in plan.unplanned)
        joules = f"{joules} on {known} of {known + len(ids)} devices" if known else "joules not known,"
        others = f"; {named(ids)} at the board's own clock, without joules"
    return (
        f"plan {plan.strategy}: {joules} a round of at most {plan.round_s:.1f} s, {samples} samples of which "
        f"{synthetic} synthetic{gap}{others}"
    )
