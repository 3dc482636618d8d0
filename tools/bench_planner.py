"""How fast and how exact the exact planner is: `python -m tools.bench_planner scale | warm | random | levels`.

Times are of `solve_exact`: from a fleet's arrays to points that keep every constraint, with their certificate. What is
compared is measured in one run, in turns.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from server.errors import ConfigError
from server.plan.build import build_fleet
from server.plan.device_step import joules
from server.plan.devices import EnergyBasis
from server.plan.diagnosis import NoPlanError
from server.plan.exact import Solved, solve_exact
from server.plan.fleet import Fleet
from server.plan.points import Points
from server.plan.search import solve_cvxpy
from server.plan.solve import relative_gap, solve
from tools.bench_fleets import CPUS, RADIOS, binding, changed, problem_of, random_fleet

_AIM = 1e-6
_REPEATS = ((5_000, 9), (50_000, 5), (200_000, 3))  # below so many devices: so many runs, of which the median counts


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench_planner", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    scale = parts.add_parser("scale", help="seconds, memory and gap over the number of devices")
    scale.add_argument("--devices", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    scale.add_argument("--tables", action="store_true", help="tables of six operating points instead of curves")
    scale.add_argument("--radio", choices=RADIOS, default="mixed")
    scale.add_argument("--seed", type=int, default=0)
    warm = parts.add_parser("warm", help="planning again after every parameter drifted by one percent")
    warm.add_argument("--devices", type=int, default=100_000)
    warm.add_argument("--tables", action="store_true")
    warm.add_argument("--radio", choices=RADIOS, default="mixed")
    warm.add_argument("--turns", type=int, default=5)
    for part in (scale, warm):
        part.add_argument(
            "--pooled", action="store_true", help="one target for all data together, not the mean of errors"
        )
    many = parts.add_parser("random", help="gaps of many random fleets of 1 to 200 devices, of all kinds")
    many.add_argument("--fleets", type=int, default=1_000)
    many.add_argument("--seed", type=int, default=0)
    many.add_argument("--conic", type=int, default=0, help="so many of those up to 20 devices: held against cvxpy")
    levels = parts.add_parser("levels", help="gaps with discrete levels of power")
    levels.add_argument("--devices", type=int, nargs="+", default=[3, 10, 100, 1_000])
    levels.add_argument("--fleets", type=int, default=5, help="of each size")
    asked = parser.parse_args(argv)
    {"scale": _scale, "warm": _warm, "random": _random, "levels": _levels}[asked.part](asked)
    return 0


def _scale(asked: argparse.Namespace) -> None:
    cpus = "tables" if asked.tables else "curves"
    print(f"{asked.radio} radios, {cpus}: devices, seconds, over n log n (1 = as the first), gap, peak MiB")
    first: float | None = None
    for count in sorted(asked.devices):
        fleet = random_fleet(count, asked.seed, radio_kind=asked.radio, cpus=cpus, pooled=asked.pooled)
        solved: list[Solved] = []
        seconds = statistics.median(_timed(lambda: solved.append(solve_exact(fleet))) for _ in range(_repeats(count)))  # noqa: B023
        cost = seconds / (count * math.log(count))
        first = first or cost
        print(f"{count:>9,}  {seconds:8.3f}  {cost / first:6.3f}  {_gap(fleet, solved[-1]):9.1e}  {_peak_mib():7.0f}")


def _warm(asked: argparse.Namespace) -> None:
    cpus = "tables" if asked.tables else "curves"
    fleet = random_fleet(asked.devices, 0, radio_kind=asked.radio, cpus=cpus, pooled=asked.pooled)
    before = solve_exact(fleet)
    cold_s, warm_s = [], []
    for turn in range(asked.turns):
        later = changed(fleet, turn)
        again: list[Solved] = []
        cold_s.append(_timed(lambda: solve_exact(later)))  # noqa: B023
        warm_s.append(_timed(lambda: again.append(solve_exact(later, before.dual))))  # noqa: B023
        print(f"cold {cold_s[-1]:.3f} s, warm {warm_s[-1]:.3f} s, gap {_gap(later, again[0]):.1e}")
    cold, again_s = statistics.median(cold_s), statistics.median(warm_s)
    print(f"{asked.devices:,} devices: cold {cold:.3f} s, warm {again_s:.3f} s, ratio {again_s / cold:.3f}")


def _random(asked: argparse.Namespace) -> None:
    """Fleets whose kinds go round and whose room is drawn: solved, rounded to whole batches, and checked as plans."""
    gaps, bounds, kinds, worst, compared, given_up, unrounded = [], Counter[str](), Counter[str](), 0.0, 0, 0, 0
    started = time.perf_counter()
    for index in range(asked.fleets):
        drawn, basis = _drawn(asked.seed + index, index)
        problem = problem_of(drawn, basis)
        kinds.update((basis, "pooled" if drawn.pooled else "device_mean", RADIOS[index % len(RADIOS)]))
        try:
            plan = solve(problem, batch_size=32)  # raises where a constraint is broken: `violations` has checked it
        except NoPlanError as error:  # whole samples that keep the target need not exist where a fraction of one does
            if "whole samples" not in str(error):
                raise
            unrounded += 1
            continue
        gaps.append(plan.relative_gap)
        shares, fleet = plan.devices, build_fleet(problem)
        bounds.update(binding(fleet, Points(shares.samples, shares.compute_s, shares.upload_s, shares.bandwidth_hz)))
        if compared + given_up < asked.conic and len(fleet) <= 20:
            off = _off_conic(fleet, plan.energy_j)
            compared, given_up = compared + (off is not None), given_up + (off is None)
            worst = max(worst, off or 0.0)
    seconds = time.perf_counter() - started
    near = [gap for gap in gaps if gap <= _AIM]
    print(f"{len(gaps)} fleets in {seconds:.1f} s, no violation")
    print(f"{len(near)} with gaps of {min(near):.1e} to {max(near):.1e}")
    moved = ", ".join(f"{gap:.1e}" for gap in sorted(gaps) if gap > _AIM) or "none"
    print(f"above {_AIM:g}, moved to make room for whole samples: {moved}")
    print(f"no whole samples keep the target in {unrounded} more")
    print("fleets of each kind: " + ", ".join(f"{name} {n}" for name, n in kinds.most_common()))
    print("bounds that bind, in so many fleets: " + ", ".join(f"{name} {n}" for name, n in bounds.most_common()))
    if asked.conic:
        print(f"{compared} fleets by cvxpy: at most {worst:.1e} off; {given_up} more on which it gave up")


def _drawn(seed: int, index: int) -> tuple[Fleet, EnergyBasis]:
    rng = np.random.default_rng(seed)
    basis: EnergyBasis = "board" if index % 2 else "added"
    fleet = random_fleet(
        int(np.exp(rng.uniform(0.0, math.log(200.5)))),
        seed,
        radio_kind=RADIOS[index % len(RADIOS)],
        cpus=CPUS[index // len(RADIOS) % len(CPUS)],
        basis=basis,
        epochs=int(rng.integers(1, 4)),
        accuracy=[None, 0.0, 0.1, 0.5, 0.9, 0.99][int(rng.integers(6))],
        slack=float(1.0 + np.exp(rng.uniform(math.log(1e-3), math.log(3.0)))),
        pooled=bool(index // 30 % 2),
    )
    return fleet, basis


def _off_conic(fleet: Fleet, energy_j: float) -> float | None:
    """How far the energy is from that of the conic form of the whole problem, relative; None where cvxpy gives up."""
    try:
        other_j = float(joules(fleet, solve_cvxpy(fleet)).sum())
    except ConfigError:  # "cvxpy's solver found no answer"; an InfeasibleError would be a disagreement
        return None
    return abs(other_j - energy_j) / energy_j


def _levels(asked: argparse.Namespace) -> None:
    print("devices, gap of each fleet with five levels of power, seconds of all")
    for count in asked.devices:
        gaps = []
        started = time.perf_counter()
        for seed in range(asked.fleets):
            fleet = random_fleet(count, seed, radio_kind="scheduled", cpus="both", slack=1.3, levels=5)
            gaps.append(_gap(fleet, solve_exact(fleet)))
        seconds = time.perf_counter() - started
        print(f"{count:>7,}  {' '.join(f'{gap:.1e}' for gap in gaps)}  {seconds:.1f}")


def _timed(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def _repeats(count: int) -> int:
    return next((runs for limit, runs in _REPEATS if count < limit), 1)


def _gap(fleet: Fleet, solved: Solved) -> float:
    return relative_gap(float(joules(fleet, solved.points).sum()), solved.dual.bound_j)


def _peak_mib() -> float:
    """The most memory that the process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    raise SystemExit(main())
