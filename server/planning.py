"""The planner alone, without a run: `fimi-server plan --fleet|--random`."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import ConfigError, InfeasibleError

if TYPE_CHECKING:
    from server.plan.problem import Plan, Problem
    from server.plan.robust import Robust
    from server.plan.sweep import Range

# Written out, because the modules that define them load numpy, which a command's help must not wait for.
METHODS = ("exact", "ce", "ga", "gradient", "cvxpy")
RADIO_CHOICES = ("scheduled", "fixed_power", "shared_link", "wired", "levels", "mixed")
BATCH_SIZE = 32
_OWN = ("fleet", "random", "fleet_out", "method", "evaluations", "out", "plot", "sweep", "target_error", "round_s",
        "bandwidth_hz", "robust")  # fmt: skip


def add_options(plan: argparse.ArgumentParser) -> None:
    """What `fimi-server plan` takes beside a run directory."""
    whose = plan.add_argument_group("a plan without a run")
    whose.add_argument("--fleet", type=Path, metavar="FLEET.json", help="plan this fleet")
    whose.add_argument("--random", type=int, metavar="N", help="plan a fleet of N devices out of the shipped profiles")
    whose.add_argument("--seed", type=int, default=0, help="of --random, and of methods that search (default: 0)")
    whose.add_argument("--radio", choices=RADIO_CHOICES, help="of --random (default: scheduled)")
    whose.add_argument("--tables", action="store_true", help="of --random: measured tables instead of analytic laws")
    whose.add_argument("--fleet-out", type=Path, metavar="FILE", help="write the fleet as it is planned")
    how = plan.add_argument_group("how it is planned")
    how.add_argument("--method", choices=METHODS, default="exact", help="default: exact")
    count = "candidates of ce, ga and gradient (default: as many as end within a minute)"
    how.add_argument("--evaluations", type=int, metavar="N", help=count)
    size = f"samples; the clock changes only at the end of a batch (default: {BATCH_SIZE})"
    how.add_argument("--batch-size", type=int, metavar="B", default=BATCH_SIZE, help=size)
    moving = "of what is executed: clocks change at the nearest end of a batch, and uploads make up for it"
    how.add_argument("--move-uploads", action="store_true", help=moving)
    add_terms(how)
    robust = "plan for slow boards and bad channels, so that this share of devices is in time (by devices[].spread)"
    how.add_argument("--robust", type=float, metavar="SHARE", help=robust)
    what = plan.add_argument_group("what comes out")
    what.add_argument("--out", metavar="PLAN.json", help="write the plan, or the sweep; - for standard output")
    what.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the plan, or the sweep")
    what.add_argument("--sweep", metavar="AXIS=LO:HI:N", help="N plans, AXIS being target-error or round-s")
    what.add_argument("--timings", action="store_true", help="seconds and memory of each step, on standard error")


def add_terms(group: Any) -> None:
    """What goes before the same fields of a fleet's file."""
    group.add_argument("--target-error", type=float, metavar="X", help="instead of the fleet's target_error")
    group.add_argument("--round-s", type=float, metavar="T", help="instead of the fleet's round_s")
    group.add_argument("--bandwidth-hz", type=float, metavar="B", help="instead of the fleet's bandwidth_hz")


def plans_a_run(arguments: argparse.Namespace) -> bool:
    """Whether `fimi-server plan` means a run directory; raises `ConfigError` where it means neither or both."""
    if arguments.run_dir is None:
        if (arguments.fleet is None) == (arguments.random is None):
            raise ConfigError("plan needs one of RUN_DIR, --fleet FLEET.json and --random N")
        return False
    given = [f"--{name.replace('_', '-')}" for name in _OWN if getattr(arguments, name) not in (None, "exact")]
    if given:
        raise ConfigError(f"{', '.join(given)}: not with RUN_DIR, whose RUN.toml says how it is planned")
    return True


def plan_command(arguments: argparse.Namespace) -> None:
    """fimi-server plan --fleet | --random"""
    if arguments.fleet_out == Path("-"):
        raise ConfigError("--fleet-out -: give the name of a file; only --out writes to standard output")
    if arguments.robust is not None and arguments.sweep is not None and arguments.fleet_out is not None:
        raise ConfigError("--fleet-out: a robust sweep plans another fleet at each value; leave it out")
    given = [f"--{name}" for name in ("radio", "tables") if getattr(arguments, name)]
    if arguments.fleet is not None and given:
        raise ConfigError(f"{', '.join(given)}: of --random; a fleet from --fleet has what it states")
    if arguments.plot is not None and arguments.plot.suffix.lower() != ".png":
        raise ConfigError(f"--plot: {arguments.plot} does not end in .png, which is what is written")
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch-size: {arguments.batch_size} is not a whole number above 0")
    over = None
    if arguments.sweep is not None:
        from server.plan.sweep import parse_range

        over = parse_range(arguments.sweep)
    arguments.timings = Timings() if arguments.timings else None
    say = sys.stderr if arguments.out == "-" else sys.stdout
    problem = with_terms(_problem(arguments), arguments)
    _done(arguments, "read" if arguments.fleet else "make")
    if arguments.drop_infeasible:
        problem = _without_infeasible(problem, say)
    if arguments.robust is None:
        _save_fleet(problem, arguments, say)
    if over is not None:
        _sweep(problem, over, arguments, say)
    else:
        _plan(problem, arguments, say)


class Timings:
    """Says how long each step took, and the most memory that the process has had so far."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self, step: str) -> None:
        now = time.perf_counter()
        peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{step:9s} {now - self._since:7.2f} s  {peak_bytes / 2**30:5.2f} GiB", file=sys.stderr)
        self._since = now


# ---- helpers -----------------------------------------------------------------------------------------------------


def _done(arguments: argparse.Namespace, step: str) -> None:
    if arguments.timings is not None:
        arguments.timings(step)


def _problem(arguments: argparse.Namespace) -> Problem:
    if arguments.fleet is not None:
        from server.plan.plan_io import load_problem

        return load_problem(arguments.fleet)
    if arguments.random < 1:
        raise ConfigError(f"--random: {arguments.random} is not a whole number above 0")
    if arguments.seed < 0:
        raise ConfigError(f"--seed: {arguments.seed} is below 0")
    from server.plan.random_fleet import random_fleet

    return random_fleet(arguments.random, arguments.seed, arguments.radio or "scheduled", tables=arguments.tables)


def with_terms(problem: Problem, arguments: argparse.Namespace) -> Problem:
    """The problem with the terms of the command line."""
    terms = {name: getattr(arguments, name) for name in ("target_error", "round_s", "bandwidth_hz")}
    return replace(problem, **{name: value for name, value in terms.items() if value is not None})


def _without_infeasible(problem: Problem, say: Any) -> Problem:
    from server.plan.diagnosis import named
    from server.plan.leave_out import without_infeasible

    problem, out = without_infeasible(problem)
    if out:
        first = next(iter(out))
        print(f"left out: {named(tuple(out))} ({first}: {out[first]})", file=say)
    return problem


def _solve(problem: Problem, arguments: argparse.Namespace) -> Plan:
    from server.plan.solve import solve
    from server.search_line import SearchLine

    line = SearchLine(arguments.method, sys.stderr)
    plan = solve(
        problem,
        batch_size=arguments.batch_size,
        method=arguments.method,
        evaluations=arguments.evaluations,
        seed=arguments.seed,
        report=line,
        on_step=arguments.timings,
        move_uploads=arguments.move_uploads,
    )
    line.end()
    return plan


def _robust(problem: Problem, arguments: argparse.Namespace, say: Any) -> Robust:
    from server.plan.diagnosis import NoPlanError
    from server.plan.robust import cautious, most_cautious_z, plan_for_share

    def solve(slower: Problem) -> Plan:
        return _solve(slower, arguments)

    try:
        return plan_for_share(problem, arguments.robust, solve)
    except NoPlanError:
        if not arguments.drop_infeasible:
            raise
    # Those that cannot be in time at the z with which each device for itself keeps the share.
    kept = _without_infeasible(cautious(problem, most_cautious_z(arguments.robust)), say)
    return plan_for_share(replace(problem, devices=problem.devices.named(kept.devices.ids)), arguments.robust, solve)


def _save_fleet(problem: Problem, arguments: argparse.Namespace, say: Any) -> None:
    if arguments.fleet_out is None:
        return
    from server.plan.plan_io import save_problem

    save_problem(problem, arguments.fleet_out)
    _done(arguments, "write")
    print(f"fleet: {arguments.fleet_out}", file=say)


def _plan(problem: Problem, arguments: argparse.Namespace, say: Any) -> None:
    from server.plan.plan_text import LISTED, describe, device_table, in_time

    if arguments.robust is None:
        plan, robust = _solve(problem, arguments), []
    else:
        found = _robust(problem, arguments, say)
        problem, plan = found.planned, found.plan
        robust = [in_time(found.in_time, arguments.robust)]
        _save_fleet(problem, arguments, say)
    print("\n".join(describe(problem, plan) + robust), file=say)
    if len(plan.devices) <= LISTED:
        print("\n".join(["", *device_table(problem, plan)]), file=say)
    if arguments.out == "-":
        from server.plan.plan_io import encode_plan

        sys.stdout.write(encode_plan(plan).decode())
    elif arguments.out is not None:
        from server.plan.plan_io import save_plan

        save_plan(plan, Path(arguments.out))
        _done(arguments, "write")
        print(f"plan: {arguments.out}", file=say)
    if arguments.plot is not None:
        from server.plan.plot import draw_plan, save_png

        save_png(draw_plan(problem, plan), arguments.plot)
        print(f"plot: {arguments.plot}", file=say)


def _sweep(problem: Problem, over: Range, arguments: argparse.Namespace, say: Any) -> None:
    from server.plan.plan_text import sweep_header, sweep_row, table
    from server.plan.sweep import SweepPoint, encode_sweep, sweep

    def solved(varied: Problem) -> Plan:
        return _solve(varied, arguments) if arguments.robust is None else _robust(varied, arguments, say).plan

    points: list[SweepPoint] = []
    try:
        since = time.perf_counter()
        for point in sweep(problem, over, solved):
            points.append(point)
            each_s = (time.perf_counter() - since) / len(points)
            left = len(over.values) - len(points)
            if each_s > 1 and left:
                print(f"{len(points)} of {len(over.values)}, {each_s * left:.0f} s left", file=sys.stderr)
    finally:  # an interruption shows what there is
        print("\n".join(table(sweep_header(over), map(sweep_row, points))), file=say)
    if arguments.out == "-":
        sys.stdout.write(encode_sweep(over, points).decode())
    elif arguments.out is not None:
        from server.plan.plan_io import save_bytes

        save_bytes([encode_sweep(over, points)], Path(arguments.out))
        print(f"sweep: {arguments.out}", file=say)
    reasons = [point.reason for point in points if point.reason]
    if reasons:
        print(f"no plan for {len(reasons)} of {len(points)} values: {reasons[-1]}", file=say)
    if len(reasons) == len(points):
        raise InfeasibleError(f"no value of {over.axis} has a plan: {reasons[-1]}")
    if arguments.plot is not None:
        from server.plan.plot import save_png
        from server.plan.plot_sweep import draw_sweep

        save_png(draw_sweep(problem, over, points), arguments.plot)
        print(f"plot: {arguments.plot}", file=say)
