"""`make demo`: one run of tools/demo.toml, then what it came to.

The server does the work, as a child: `fimi-server run`. This file starts it, hands on signals, and prints the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.table import Table

from edge_client.protocol.processes import die_with_parent

HERE = Path(__file__).resolve().parent
BASELINE = "tfl"
INTERRUPTED = 130
SEED = re.compile(r"^seed[ \t]*=[ \t]*(\d+)(?=[ \t]*(?:#.*)?$)", re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the server's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds: every part, nothing to compare")
    parser.add_argument(
        "--seed", type=int, default=0, help="of first weights, partition, batches and synthetic samples"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of run directories (default: runs)")
    arguments = parser.parse_args(argv)
    template = HERE / ("demo-quick.toml" if arguments.quick else "demo.toml")
    code, run_dir = run(template, seed=arguments.seed, out=arguments.out)
    if code or run_dir is None:
        return code or 1
    show(read_report(run_dir), run_dir, Console())
    return 0


def run(template: Path, *, seed: int, out: Path) -> tuple[int, Path | None]:
    """Run `template` with this seed: the server's exit code, and the new run directory below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    before = set(out.iterdir())
    if seed == seed_of(template.read_text()):
        code = serve("run", str(template), "--out", str(out))
    else:
        # Beside the template: that is where its relative paths start.
        with tempfile.NamedTemporaryFile("w", dir=template.parent, prefix=f".seed-{seed}-", suffix=".toml") as file:
            file.write(with_seed(template.read_text(), seed))
            file.flush()
            code = serve("run", file.name, "--out", str(out))
    made = [path for path in out.iterdir() if path not in before and (path / "config.toml").is_file()]
    return code, made[0] if made else None


def seed_of(template: str) -> int | None:
    """The seed that a run file sets, None where it sets none."""
    found = SEED.search(template)
    return int(found[1]) if found else None


def with_seed(template: str, seed: int) -> str:
    """The text of a run file with another seed; everything else, comments too, stays."""
    if seed_of(template) is None:
        return f"seed = {seed}\n{template}"
    return SEED.sub(f"seed = {seed}", template, count=1)


def serve(*arguments: str) -> int:
    """Run fimi-server with `arguments` to its end; returns its exit code, INTERRUPTED where a signal asked for the end.

    The child is in a process group of its own, so that Ctrl-C reaches it once, through us, and not a second time from
    the terminal while it stops its boards. However we end, it ends too.
    """
    child: subprocess.Popen[bytes] | None = None
    asked: list[int] = []
    early: list[int] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if child is None:
            early.append(number)
        else:
            child.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays so
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, hand_on) for number in numbers}
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "server.cli", *arguments],
            process_group=0,
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - a loaded library, no lock taken
        )
        if early:  # while it was being started
            child.send_signal(signal.SIGTERM)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # Who asked for the end while the last file was written has a whole run, and still wants no other one after it.
    return INTERRUPTED if asked and code <= 0 else code


def read_report(run_dir: Path) -> dict[str, Any]:
    """What report.json of a run directory holds."""
    report: dict[str, Any] = json.loads((run_dir / "report.json").read_text())
    return report


def joules(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def divided(part: float | None, whole: float | None) -> str:
    return f"{part / whole:.2f}" if part is not None and whole else "–"


def show(report: dict[str, Any], run_dir: Path, console: Console) -> None:
    """The final table, what must be said about it, and where the report lies."""
    strategies: dict[str, dict[str, Any]] = report["strategies"]
    common = report["common_accuracy"]
    compare = report["comparable"]
    title = "Strategies" if common is None else f"Joules to accuracy {common:.1%}, where {BASELINE} ends"
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("strategy")
    for heading in (
        "added J",
        f"÷ {BASELINE}",
        "board J",
        f"÷ {BASELINE}",
        "all rounds: added J",
        "accuracy",
        "minutes",
    ):
        table.add_column(heading, justify="right")
    baseline = strategies.get(BASELINE, {}) if compare else {}
    for name, values in strategies.items():
        added, board = values["joules_to_common_accuracy"], values["board_joules_to_common_accuracy"]
        accuracy = values["full_accuracy"]
        table.add_row(
            name,
            joules(added),
            divided(added, baseline.get("joules_to_common_accuracy")),
            joules(board),
            divided(board, baseline.get("board_joules_to_common_accuracy")),
            joules(values["energy_added_j"]),
            "–" if accuracy is None else f"{accuracy:.1%}",
            f"{values['seconds'] / 60:.1f}",
        )
    console.print()
    console.print(table)
    if not compare:
        console.print(f"No comparison: {report['not_comparable_because']}.", highlight=False)
    for note in report["notes"]:
        console.print(note, highlight=False)
    console.print(f"Report: {run_dir / 'report.html'}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
