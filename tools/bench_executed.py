"""How far executed plans are above the lower bound, and how near to it any could be: `python -m tools.bench_executed`.

Fleets are those of `fimi-server plan --random`. "least" is a bound on what *any* choice of whole samples and batches
costs with the uploads as planned: the Lagrangian dual over all sample counts of all devices, none left out. What lies
between the two columns is what rounding could still gain; what "least" itself is above the bound is the price of whole
batches.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import numpy as np

from server.plan.boards import Boards
from server.plan.build import build_fleet
from server.plan.plan_text import table
from server.plan.problem import Plan, Problem
from server.plan.random_fleet import RADIO_CHOICES, random_fleet
from server.plan.solve import relative_gap, solve

_STEPS = 100  # of the golden section over the price of error
_GOLDEN = (5**0.5 - 1) / 2


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=20, help="of a fleet (default: 20)")
    parser.add_argument("--seeds", type=int, default=20, help="fleets of each kind (default: 20)")
    parser.add_argument("--batch-size", type=int, default=32, help="samples (default: 32)")
    parser.add_argument("--radio", choices=RADIO_CHOICES, nargs="+", default=RADIO_CHOICES)
    parser.add_argument("--move-uploads", action="store_true", help="what is executed has uploads of its own")
    parser.add_argument("--laws", action="store_true", help="analytic laws instead of measured tables")
    arguments = parser.parse_args()
    rows, moved = [], arguments.move_uploads
    for radio in arguments.radio:
        executed: list[float] = []
        least: list[float] = []
        for seed in range(arguments.seeds):
            problem = random_fleet(arguments.devices, seed, radio, tables=not arguments.laws)
            plan = solve(problem, batch_size=arguments.batch_size, move_uploads=moved)
            executed.append(plan.executed_gap)
            if not moved:  # else uploads are not as planned
                least.append(relative_gap(least_executed_j(problem, plan, arguments.batch_size), plan.lower_bound_j))
            if sys.stderr.isatty():
                print(f"{radio}: {seed + 1} of {arguments.seeds}", file=sys.stderr, end="\r")
        shown = (executed,) if moved else (executed, least)
        rows.append((radio, *(f"{part(gaps):.3%}" for gaps in shown for part in (statistics.median, max))))
    header = ("radio", "executed median", "worst", "least median", "worst")
    print("\n".join(table(header[:3] if moved else header, rows)))
    return 0


def least_executed_j(problem: Problem, plan: Plan, batch_size: int) -> float:
    """Joules (compute and upload) below which no whole samples in whole batches come, with the plan's uploads."""
    fleet = build_fleet(problem)
    upload_j = float(plan.devices.upload_j.sum())
    boards = Boards(fleet, plan.devices.upload_s, batch_size)
    width = int((boards.most - boards.least).max()) + 1
    samples = np.minimum(boards.least[:, None] + np.arange(width), boards.most[:, None])
    joules, losses = boards.joules(rows := np.arange(len(fleet)), samples), boards.losses(rows, samples)
    if fleet.target_error is None:
        return upload_j + float(joules.min(axis=1).sum())
    allowed = len(fleet) * fleet.allowed_loss

    def dual(price: float) -> float:
        return float((joules + price * losses).min(axis=1).sum()) - price * allowed

    return upload_j + _highest(dual, 10.0 * plan.price_error_j / len(fleet))


def _highest(concave: Callable[[float], float], reach: float) -> float:
    """The highest value seen of a concave function on [0, reach]; any value of a dual is a bound."""
    low, high = 0.0, reach
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [concave(at) for at in inner]
    best = max(*values, concave(0.0))
    for _ in range(_STEPS):
        if values[0] < values[1]:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + _GOLDEN * (high - low)
            values[1] = concave(inner[1])
        else:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - _GOLDEN * (high - low)
            values[0] = concave(inner[0])
        best = max(best, *values)
    return best


if __name__ == "__main__":
    sys.exit(main())
