"""`make demo-seeds`: the demo once per seed, then medians and ranges of what it cost against plain federated learning.

A seed whose report is there and whole is not run again, so a series can be stopped and taken up; a run that was made
with another run file does not count. A seed whose run must not be compared (its boards were starved, see the report) is
left out and named.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from firmware_profiles.strict import ConfigError, load_toml, parse_toml
from tools import demo

STRATEGIES = ("tfl", "fill", "fimi")
"""What a run file that names none asks for: the default of the server's `strategy`."""

BASIS = {  # what was spent in all, and until the common accuracy was first reached, or held two rounds in a row
    "added": ("energy_added_j", "joules_to_common_accuracy"),
    "whole board": ("energy_board_j", "board_joules_to_common_accuracy"),
    "added, until held": ("energy_added_j", "joules_to_hold_common_accuracy"),
    "whole board, until held": ("energy_board_j", "board_joules_to_hold_common_accuracy"),
}


@dataclass(frozen=True)
class Spread:
    """Median and range of a ratio over seeds; infinite where a strategy never reached the common accuracy."""

    strategy: str
    basis: str
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns 0 where every seed has run and could be compared, else the server's code, or 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo_seeds", description=__doc__.partition("\n")[0])
    parser.add_argument("seeds", type=int, nargs="+", help="seeds, each a run of its own")
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"), help="folder of all of them")
    parser.add_argument("--config", type=Path, default=demo.HERE / "demo.toml", help="what is run (default: the demo)")
    arguments = parser.parse_args(argv)
    try:
        load_toml(arguments.config, dict)
    except ConfigError as error:
        print(f"demo_seeds: {error}", file=sys.stderr)
        return error.exit_code
    reports: dict[int, dict[str, Any]] = {}
    for seed in dict.fromkeys(arguments.seeds):
        folder = arguments.out / f"{arguments.config.stem}-seed-{seed}"
        run_dir = finished(folder, settings(arguments.config, seed))
        if run_dir is None:
            code, run_dir = go_on(folder, arguments.config, seed)
            if code or run_dir is None:
                print(f"seed {seed}: the run ended with exit code {code}; finished seeds are kept", file=sys.stderr)
                return code or 1
        print(f"seed {seed}: {run_dir}", flush=True)
        reports[seed] = demo.read_report(run_dir)
    compared = {seed: report for seed, report in reports.items() if report["comparable"]}
    spreads = compare(list(compared.values()))
    show(reports, spreads, Console())
    write_summary(arguments.out / f"{arguments.config.stem}-summary.json", reports, spreads)
    return 0 if len(compared) == len(reports) else 1


def settings(config: Path, seed: int) -> dict[str, Any]:
    """What the run file says with this seed; comments and order do not count."""
    return parse_toml(demo.with_seed(config.read_text(), seed), dict, str(config))


def go_on(folder: Path, config: Path, seed: int) -> tuple[int, Path | None]:
    """Take up the newest interrupted run of this seed and run file, or start one."""
    wanted = settings(config, seed)
    begun = [file.parent for file in sorted(folder.glob("*/devices.json")) if is_run_of(file.parent, wanted)]
    if not begun:
        print(f"seed {seed}: running", flush=True)
        return demo.run(config, seed=seed, out=folder)
    print(f"seed {seed}: going on with {begun[-1]}", flush=True)
    return demo.serve("run", "--resume", str(begun[-1])), begun[-1]


def finished(folder: Path, wanted: dict[str, Any]) -> Path | None:
    """The newest run directory below `folder` that was made with these settings and whose report is whole, or None."""
    for file in sorted(folder.glob("*/report.json"), reverse=True):
        if is_run_of(file.parent, wanted) and whole(demo.read_report(file.parent), wanted):
            return file.parent
    return None


def is_run_of(run_dir: Path, wanted: dict[str, Any]) -> bool:
    """Whether the run file that is kept in a run directory says the same."""
    try:
        return load_toml(run_dir / "config.toml", dict) == wanted
    except ConfigError:
        return False  # what cannot be read was made with something else


def whole(report: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a report holds every strategy that the settings name, to its last round."""
    named = wanted.get("strategy", STRATEGIES)
    strategies = report["strategies"]
    return all(
        name in strategies and strategies[name]["full_accuracy"] is not None
        for name in ([named] if isinstance(named, str) else named)
    )


def compare(reports: Sequence[dict[str, Any]]) -> list[Spread]:
    """The ratios to `tfl` of every other strategy, on both bases; strategies that a report lacks are left out.

    Where `tfl` itself does not hold what it ends with, all that it has spent stands for what it would have needed.
    """
    names = [name for name in (reports[0]["strategies"] if reports else ()) if name != demo.BASELINE]
    spreads = []
    for name in names:
        for basis, (spent, to_common) in BASIS.items():
            ratios = []
            for report in reports:
                values, tfl = report["strategies"].get(name), report["strategies"][demo.BASELINE]
                baseline = tfl[to_common] or tfl[spent]
                if values is None or values[spent] is None or not baseline:
                    continue
                ratios.append(math.inf if values[to_common] is None else values[to_common] / baseline)
            if ratios:
                spreads.append(Spread(name, basis, tuple(ratios)))
    return spreads


def text(ratio: float) -> str:
    return "never" if math.isinf(ratio) else f"{ratio:.2f}"


def show(reports: dict[int, dict[str, Any]], spreads: Sequence[Spread], console: Console) -> None:
    """Which seeds count, and the table."""
    for seed, report in reports.items():
        if not report["comparable"]:
            console.print(f"Seed {seed} is left out: {report['not_comparable_because']}.", highlight=False)
    if not spreads:
        console.print("No seed can be compared.")
        return
    table = Table(
        title=f"Joules to the accuracy {demo.BASELINE} ends with, divided by {demo.BASELINE}'s", title_justify="left"
    )
    for heading in ("strategy", "joules", "seeds", "median", "lowest", "highest"):
        table.add_column(heading, justify="left" if heading in ("strategy", "joules") else "right")
    for spread in spreads:
        numbers = (spread.median, min(spread.ratios), max(spread.ratios))
        table.add_row(spread.strategy, spread.basis, str(len(spread.ratios)), *map(text, numbers))
    console.print(table)


def write_summary(path: Path, reports: dict[int, dict[str, Any]], spreads: Sequence[Spread]) -> None:
    """The numbers behind the table, for a note: None stands for "never"."""
    finite = {
        f"{spread.strategy}, {spread.basis}": [None if math.isinf(ratio) else ratio for ratio in spread.ratios]
        for spread in spreads
    }
    seeds = {seed: {"run": report["run"], "comparable": report["comparable"]} for seed, report in reports.items()}
    path.write_text(json.dumps({"baseline": demo.BASELINE, "seeds": seeds, "ratios": finite}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
