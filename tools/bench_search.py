"""How far searchers end from the optimum, how often they break a constraint on the way, and how long they take.

    python -m tools.bench_search --rows search.jsonl [--evaluations 10000] [--small 20] [--large 5] [--png search.png]

Fleets are those of `fimi-server plan --random` with 20 devices (`--small` of them) and 100 (`--large`), in turn of each
radio that leaves something to search, with laws and tables, both accuracy models. Every searcher has the same number of
candidates on each. Two more show what the tuning of "ce" is worth, both with 100 draws of which 10 count and without
smoothing: "ce, unsmoothed" is else the same, "ce, plain" also draws splits of the seconds themselves around the middle
and throws away what breaks a constraint. "gap" is the distance from the exact solver's lower bound, relative.

Each result is a line of `--rows`; what is there already is not run again, so an interrupted run can be gone on with.
Exit code 1 if anything lies under the lower bound: then it would be none.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from server.plan.build import build_fleet
from server.plan.device_step import joules
from server.plan.fleet import Fleet
from server.plan.problem import Problem
from server.plan.random_fleet import RadioChoice, random_fleet
from server.plan.search import Judge, search, solve_cvxpy
from server.plan.search.conic import MOST_DEVICES
from server.plan.search.cross_entropy import Tuning, cross_entropy
from server.plan.search.trace import Trace
from server.plan.solve import solve

SMALL, LARGE = 20, 100
RADIOS: tuple[RadioChoice, ...] = ("scheduled", "mixed", "fixed_power", "shared_link")
_UNSMOOTHED = Tuning(drawn=100, elite=10, first_spread=0.3, mean_smoothing=1.0, spread_smoothing=1.0)
_ROUNDING = 1e-12  # relative: what a sum of joules may lose
_KEPT = 150  # points of a history, evenly on a logarithmic scale


class Row(msgspec.Struct, frozen=True):
    """One method on one fleet. `energy_j` None: nothing was found that keeps the constraints. Of searchers only: the
    share of candidates that broke a constraint, how many there were, and pairs of evaluations and best joules."""

    devices: int
    seed: int
    method: str
    asked: int
    energy_j: float | None
    bound_j: float
    seconds: float
    infeasible_share: float | None = None
    evaluations: int | None = None
    history: list[tuple[int, float]] = []

    @property
    def gap(self) -> float:
        """Relative distance from the lower bound; infinite where nothing was found."""
        return math.inf if self.energy_j is None else self.energy_j / self.bound_j - 1.0


class Found(NamedTuple):
    """Least joules (infinite: none), how many candidates there were, how many of them broke a constraint, history."""

    best_j: float
    evaluations: int
    infeasible: int
    history: list[tuple[int, float]]


Searcher = Callable[[Fleet, int, int], Found]


def the_problem(devices: int, seed: int) -> Problem:
    """A fleet of `fimi-server plan --random`; kind of radio, processors and accuracy model take turns."""
    made = random_fleet(devices, seed, RADIOS[seed % 4], tables=seed // 4 % 2 == 1)
    return replace(made, accuracy_model="pooled" if seed // 2 % 2 else "device_mean")


def unsmoothed(fleet: Fleet, evaluations: int, seed: int) -> Found:
    """Cross-entropy without smoothing, from the same start and with the same repair."""
    judge = Judge(fleet)
    trace = Trace(judge, evaluations)
    cross_entropy(judge, trace, np.random.default_rng(seed), _UNSMOOTHED)
    return Found(trace.best_j, judge.evaluations, judge.infeasible, trace.history)


def plain(fleet: Fleet, evaluations: int, seed: int) -> Found:
    """Cross-entropy over the seconds themselves from the middle, without smoothing, without repair: it goes on drawing
    from the same distribution until as many as count have kept every constraint."""
    judge, rng, tuning = Judge(fleet), np.random.default_rng(seed), _UNSMOOTHED
    splits, best_j, spent, broken = judge.splits, math.inf, 0, 0
    shortest, longest = splits.shortest_s[splits.free], splits.longest_s[splits.free]
    mean, spread = np.full(judge.dimensions, 0.5), np.full(judge.dimensions, tuning.first_spread)
    history: list[tuple[int, float]] = []
    good, good_j = np.zeros((0, judge.dimensions)), np.zeros(0)
    while spent < evaluations:
        drawn = np.clip(mean + spread * rng.standard_normal((tuning.drawn, judge.dimensions)), 0.0, 1.0)
        upload_s = np.repeat(splits.shortest_s[None, :], tuning.drawn, axis=0)
        upload_s[:, splits.free] = shortest + drawn * (longest - shortest)
        kept = judge.keeps(upload_s)
        spent, broken = spent + tuning.drawn, broken + int((~kept).sum())
        if kept.any():
            good = np.concatenate([good, drawn[kept]])
            good_j = np.concatenate([good_j, judge(splits.of(upload_s[kept])).joules])
            best_j = min(best_j, float(good_j.min()))
        if len(good) >= tuning.elite:
            elite = good[np.argsort(good_j)[: tuning.elite]]
            mean, spread = elite.mean(axis=0), elite.std(axis=0)
            good, good_j = good[:0], good_j[:0]
        history.append((spent, best_j))
    return Found(best_j, spent, broken, history)


def _ours(method: str) -> Searcher:
    def run(fleet: Fleet, evaluations: int, seed: int) -> Found:
        history: list[tuple[int, float]] = []
        found = search(fleet, method, evaluations=evaluations, seed=seed, report=lambda *now: history.append(now))
        broken = round(found.infeasible_share * found.evaluations)
        return Found(found.energy_j, found.evaluations, broken, history)

    return run


SEARCHERS: dict[str, Searcher] = {
    "ce": _ours("ce"), "ga": _ours("ga"), "gradient": _ours("gradient"),
    "ce, unsmoothed": unsmoothed, "ce, plain": plain,
}  # fmt: skip
METHODS = ("exact", "cvxpy", *SEARCHERS)


def run_one(devices: int, seed: int, method: str, evaluations: int, bound_j: float) -> Row:
    """One result; "exact" finds the bound, the others are told it."""
    problem = the_problem(devices, seed)
    row = Row(devices, seed, method, evaluations, None, bound_j, 0.0)
    if method == "exact":
        plan = solve(problem)
        found_j, bound_j = float(plan.energy_j), float(plan.lower_bound_j)
        return msgspec.structs.replace(row, energy_j=found_j, bound_j=bound_j, seconds=plan.seconds)
    fleet, started = build_fleet(problem), time.perf_counter()
    if method == "cvxpy":
        energy_j = float(joules(fleet, solve_cvxpy(fleet)).sum())
        return msgspec.structs.replace(row, energy_j=energy_j, seconds=time.perf_counter() - started)
    found = SEARCHERS[method](fleet, evaluations, seed)
    return msgspec.structs.replace(
        row,
        energy_j=float(found.best_j) if math.isfinite(found.best_j) else None,
        seconds=time.perf_counter() - started,
        infeasible_share=found.infeasible / found.evaluations,
        evaluations=found.evaluations,
        history=_thinned([(spent, float(now)) for spent, now in found.history if math.isfinite(now)]),
    )


def _thinned(history: list[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(history) <= _KEPT:
        return history
    places = np.unique(np.geomspace(1, len(history), _KEPT).round().astype(int)) - 1
    return [history[i] for i in places.tolist()]


# ---- the table ---------------------------------------------------------------------------------------------------


def table(rows: list[Row]) -> str:
    """For each size of fleet, every method's median and worst."""
    lines = []
    for devices in sorted({row.devices for row in rows}):
        count = len({row.seed for row in rows if row.devices == devices})
        lines.append(f"\n{count} fleets of {devices} devices: median, worst")
        lines.append(f"{'method':15}{'gap':>19}{'infeasible':>17}{'seconds':>15}{'to 1e-3':>10}{'to 1e-6':>10}")
        for method in METHODS:
            some = [row for row in rows if row.devices == devices and row.method == method]
            if some:
                lines.append(_line(method, some))
    return "\n".join(lines)


def _line(method: str, rows: list[Row]) -> str:
    share = "-"
    if rows[0].infeasible_share is not None:
        share = _both([row.infeasible_share or 0.0 for row in rows], "{:.1%}")
    gaps, seconds = _both([row.gap for row in rows], "{:.1e}"), _both([row.seconds for row in rows], "{:.2f}")
    return f"{method:15}{gaps:>19}{share:>17}{seconds:>15}{_first(rows, 1e-3):>10}{_first(rows, 1e-6):>10}"


def _both(values: list[float], form: str) -> str:
    some = sorted(values)
    return f"{form.format(some[len(some) // 2])}, {form.format(some[-1])}".replace("inf", "none")


def _first(rows: list[Row], gap: float) -> str:
    """Candidates until the gap was as small, the median over fleets; how many fleets got there if not all did."""
    if rows[0].infeasible_share is None:
        return "-"
    firsts = [next((n for n, now in row.history if now / row.bound_j - 1 <= gap), None) for row in rows]
    there = sorted(first for first in firsts if first is not None)
    return f"{there[len(there) // 2]}" if len(there) == len(rows) else f"{len(there)} of {len(rows)}"


# ---- the run -----------------------------------------------------------------------------------------------------


def _jobs(sizes: list[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    for devices, count in sizes:
        for seed in range(count):
            for method in METHODS:
                if method != "cvxpy" or devices <= MOST_DEVICES:
                    yield devices, seed, method


def _known(path: Path, evaluations: int) -> dict[tuple[int, int, str], Row]:
    """What is on record; a last line that was cut off is left out."""
    rows = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = msgspec.json.decode(line, type=Row)
        except msgspec.DecodeError:
            continue
        if row.asked == evaluations:
            rows[row.devices, row.seed, row.method] = row
    return rows


def main() -> int:
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.bench_search", description=__doc__, formatter_class=about)
    parser.add_argument("--rows", type=Path, required=True, metavar="FILE.jsonl")
    parser.add_argument("--evaluations", type=int, default=10_000, metavar="N")
    parser.add_argument("--small", type=int, default=20, metavar="N", help=f"fleets of {SMALL} devices (default: 20)")
    parser.add_argument("--large", type=int, default=5, metavar="N", help=f"fleets of {LARGE} devices (default: 5)")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the gap over candidates")
    arguments = parser.parse_args()
    jobs = list(_jobs([(SMALL, arguments.small), (LARGE, arguments.large)]))
    rows = _known(arguments.rows, arguments.evaluations)
    todo = [job for job in jobs if job not in rows]
    arguments.rows.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with arguments.rows.open("ab") as out:
        if out.tell():
            out.write(b"\n")  # ends a line that was cut off; an empty one says nothing
        for done, (devices, seed, method) in enumerate(todo):
            bound_j = math.nan if method == "exact" else rows[devices, seed, "exact"].bound_j
            row = run_one(devices, seed, method, arguments.evaluations, bound_j)
            rows[devices, seed, method] = row
            out.write(msgspec.json.encode(row) + b"\n")
            out.flush()
            left_s = (time.monotonic() - began) / (done + 1) * (len(todo) - done - 1)
            print(f"{done + 1} of {len(todo)}: fleet {seed} of {devices} devices, {method}: gap {row.gap:.1e}, "
                  f"{row.seconds:.1f} s; about {left_s / 60:.0f} min left", file=sys.stderr, flush=True)  # fmt: skip
    told = [rows[job] for job in jobs]
    print(table(told))
    if arguments.png:
        from tools.bench_search_figure import draw

        draw(told, arguments.png)
    under = [row for row in told if row.gap < -_ROUNDING]
    for row in under:
        print(f"{row.method} on fleet {row.seed} of {row.devices} devices lies {-row.gap:.1e} under the lower bound")
    return 1 if under else 0


if __name__ == "__main__":
    sys.exit(main())
