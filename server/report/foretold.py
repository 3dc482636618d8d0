"""The whole training as it was foretold beside what it took: rounds and joules to `plan.target_accuracy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.report.metrics import added_by_round, cumulated, joules_to_accuracy, ratio, total
from server.report.tables import NEVER, Table, number, ratio_text
from server.report.values import OutlayRow, RoundRow, RunData, StrategyRun


@dataclass(frozen=True)
class Reached:
    """What a strategy took to the target; None where it never came there, or joules are unknown.

    `rounds` may be a fraction, as in the prediction. `work_j` are training and upload of accepted updates on the plan's
    basis, which is what was foretold; `added_j` is everything above the idle floor, the model's download with it.
    """

    rounds: float | None
    work_j: float | None
    added_j: float | None


def work_by_round(rounds: Sequence[RoundRow]) -> list[float | None]:
    """Joules of training and upload of each round's accepted updates, on the plan's basis."""
    return [total(task.work_j for task in row.tasks if task.accepted) for row in rounds]


def reached(run: StrategyRun, accuracy: float) -> Reached:
    """Rounds and joules until the strategy first reaches an accuracy."""
    by_round = [row.accuracy for row in run.rounds]

    def until(per_round: Sequence[float | None]) -> float | None:
        sums = cumulated(per_round)
        return None if sums is None else joules_to_accuracy(by_round, sums, accuracy)

    return Reached(until([1.0] * len(by_round)), until(work_by_round(run.rounds)), until(added_by_round(run.rounds)))


def foretold(data: RunData) -> Table | None:
    """The amounts of data that were weighed against each other, and what the strategies then took."""
    if data.outlay is None:
        return None
    best = data.outlay.candidates[0]
    rows = [_predicted(row, "chosen" if row is best else "not taken") for row in data.outlay.candidates]
    rows += [_measured(run, data.outlay.target_accuracy, best) for run in data.strategies]
    caption = (
        f"To an accuracy of {data.outlay.target_accuracy:.1%}, as foretold and as measured; joules of training and "
        "upload on the plan's basis"
    )
    return Table(caption, ("What", "Rounds", "Joules a round", "Joules", "÷ chosen"), tuple(rows))


def _predicted(row: OutlayRow, what: str) -> tuple[str, ...]:
    name = f"foretold, {row.fill_factor:g} times the data ({what})"
    return name, number(row.rounds, 1), number(row.round_j, 1), number(row.total_j), "–"


def _measured(run: StrategyRun, accuracy: float, best: OutlayRow) -> tuple[str, ...]:
    found = reached(run, accuracy)
    each = ratio(found.work_j, found.rounds)
    return (
        f"measured, {run.name}",
        number(found.rounds, 1, NEVER),
        "–" if each is None else number(each, 1),
        number(found.work_j, missing="–"),
        ratio_text(found.work_j, best.total_j),
    )
