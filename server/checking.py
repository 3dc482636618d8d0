"""A plan held against its fleet, from the two files: `fimi-server check-plan`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import InfeasibleError
from server.planning import add_terms, with_terms

if TYPE_CHECKING:
    from server.plan.problem import Plan, Problem

FEW = 10_000  # devices whose lower bound is recomputed without being asked: a millisecond each


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """check-plan."""
    check = commands.add_parser("check-plan", help="recompute a plan's energy and every constraint from the two files")
    check.add_argument("--fleet", type=Path, required=True, metavar="FLEET.json")
    check.add_argument("--plan", type=Path, required=True, metavar="PLAN.json")
    bound = f"insist that its prices prove the lower bound, also of more than {FEW:,} devices (1 ms each)"
    check.add_argument("--bound", action="store_true", help=bound)
    add_terms(check)
    check.set_defaults(function=check_plan_command)


def check_plan_command(arguments: argparse.Namespace) -> None:
    """fimi-server check-plan"""
    from server.plan.check import violations
    from server.plan.plan_io import load_plan, load_problem
    from server.plan.plan_text import counted, number, share
    from server.plan.validate import validate

    problem = with_terms(load_problem(arguments.fleet), arguments)
    validate(problem)
    plan = load_plan(arguments.plan)
    found = violations(problem, plan)
    proved = "" if found else _proved(problem, plan, insist=arguments.bound)
    if arguments.bound and proved.startswith("not proved"):
        found = [f"lower_bound_j is {proved}"]
    for sentence in found:
        print(sentence)
    if found:
        raise InfeasibleError(f"{arguments.plan} is no sound plan for {arguments.fleet}: {found[0]}")
    print(
        f"{arguments.plan}: sound; {number(plan.energy_j)} J, gap {share(plan.relative_gap)}, executed "
        f"{number(plan.executed_energy_j)} J, gap {share(plan.executed_gap)}, {counted(len(plan.devices))}\n"
        f"lower bound: {proved}"
    )


def _proved(problem: Problem, plan: Plan, *, insist: bool) -> str:
    """What the plan's prices say of its lower bound; begins with "not proved" where they prove another.

    A plan that was made for other terms is as sound for those of the fleet as its constraints say, but its bound is not
    theirs: that is said, and is wrong only for who insists.
    """
    from server.plan.check_bound import dual_value_j, proves
    from server.plan.plan_text import number

    if len(problem.devices.levels.watts):
        return "not recomputed: with discrete levels of power the devices' costs are not convex"
    if len(problem.devices) > FEW and not insist:
        return f"not recomputed: more than {FEW:,} devices; --bound does it"
    value_j = dual_value_j(problem, plan.price_error_j, plan.price_bandwidth_j_per_hz)
    if proves(problem, plan, value_j):
        return "proved again at its prices"
    return (
        f"not proved: at its prices a plan for these terms may cost {number(value_j)} J; a plan made for other terms "
        "is checked with those"
    )
