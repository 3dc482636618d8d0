"""Hold what the clients of a run on virtual boards reported against the boards' ledgers: joules, window by window.

    python -m tools.audit_run RUN_DIR

The ledgers are the truth that client and server never open. Every window a client put into its journal is compared:
idle and profile windows at enrolment, training segments, uploads and whole tasks of every round. Starved windows are
listed, not judged: the host was busy with something else. A task is starved where a segment of it was; in an upload
nothing waits for the processor.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.boards.ledger import Truth, read_ledger

LIMIT = 0.05
"""The agreement that is asked for: five per cent of the true joules."""
SHORTEST_S = 1.0
"""Shorter windows hold a few polls of the meter and a few lines of the ledger (ten a second both), and it is their
borders that would be compared; they are listed, not judged."""


@dataclass(frozen=True)
class Compared:
    """One window: its kind, seconds, whether it was starved, and reported over true joules, minus one."""

    kind: str
    duration_s: float
    starved: bool
    error: float


def main() -> int:
    """The command; returns 1 where a judged window is off by more than the limit, 2 where there is nothing to judge."""
    parser = argparse.ArgumentParser(prog="python -m tools.audit_run", description=__doc__.partition("\n")[0])
    parser.add_argument("run_dir", type=Path)
    run_dir = parser.parse_args().run_dir
    found: list[Compared] = []
    for ledger in sorted(run_dir.glob("boards*/*.ledger.jsonl")):  # a folder for each time the run was started
        device = ledger.name.removesuffix(".ledger.jsonl")
        journal = ledger.parent / f"{device}.state" / "windows.jsonl"
        if journal.exists():
            found += compare(journal.read_text().splitlines(), read_ledger(ledger))
    if not found:
        print(f"{run_dir} holds no ledger with a client's journal beside it: was this a run on virtual boards?")
        return 2
    print(summary(found))
    return int(any(judged(one) and abs(one.error) > LIMIT for one in found))


def compare(journal: list[str], truth: Truth) -> list[Compared]:
    """The windows of a client's journal (JSON lines) that have joules, against the truth."""
    lines = [json.loads(line) for line in journal]
    starved_segments = [line for line in lines if line["kind"] == "segment" and line["outcome"]["starved"]]
    compared = []
    for line in lines:
        reported = line["energy"]["energy_j"]
        true_j = truth.between(line["start"], line["end"])["true_j"]
        if reported is not None and true_j > 0:
            was = starved(line, starved_segments)
            compared.append(Compared(line["kind"], line["end"] - line["start"], was, reported / true_j - 1.0))
    return compared


def starved(line: dict[str, Any], starved_segments: list[dict[str, Any]]) -> bool:
    """Whether a window of the journal was starved; each kind says it in its own place, unknown (None) is no."""
    match line["kind"]:
        case "profile":
            return bool(line["starved"])
        case "segment":
            return bool(line["outcome"]["starved"])
        case "task":
            return any(line["start"] <= one["start"] and one["end"] <= line["end"] for one in starved_segments)
        case _:
            return False


def judged(one: Compared) -> bool:
    """Whether a window counts: long enough, and not starved."""
    return one.duration_s >= SHORTEST_S and not one.starved


def summary(found: list[Compared]) -> str:
    """A table by kind of window: how many, their median and worst error, how many are beyond the limit."""
    lines = [f"{'kind':<10} {'windows':>8} {'short':>6} {'starved':>8} {'median':>8} {'worst':>8} {'> 5 %':>6}"]
    for kind in sorted({one.kind for one in found}):
        own = [one for one in found if one.kind == kind]
        errors = np.array([one.error for one in own if judged(one)])
        short, starved = sum(one.duration_s < SHORTEST_S for one in own), sum(one.starved for one in own)
        median = f"{np.median(errors):+.1%}" if len(errors) else "-"
        worst = f"{errors[np.argmax(np.abs(errors))]:+.1%}" if len(errors) else "-"
        beyond = int((np.abs(errors) > LIMIT).sum())
        lines.append(f"{kind:<10} {len(own):>8} {short:>6} {starved:>8} {median:>8} {worst:>8} {beyond:>6}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
