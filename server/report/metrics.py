"""The report's numbers, computed from values alone.

The comparison asks what each strategy paid to reach one common accuracy: the one that `tfl` (local data only, planned
clocks) ends with. Reaching means the first crossing, for `tfl` itself too, so that a curve that wavers near its end
does not make the baseline dearer than it is. Between two rounds joules and accuracy are joined by a straight line.
A first crossing may be luck, the more so the more a curve wavers; so the joules until a strategy *holds* that accuracy,
two rounds in a row, stand beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from server.report.values import RoundRow, RunData, StrategyRun, TaskRow

BASELINE = "tfl"
STARVED_LIMIT = 0.05  # share of training windows above which joules and seconds mean nothing
HELD_ROUNDS = 2  # in a row at an accuracy count as holding it
MIN_ROUNDS = 5  # below it a run shows that all parts work, and no more
MIN_SKILL = 0.1  # of the way from guessing to certainty that the common accuracy must have gone


Spent = Callable[[Sequence[float], Sequence[float], float], float | None]
"""(accuracy by round, cumulated joules, target) -> joules."""


def total(values: Iterable[float | None]) -> float | None:
    """The sum, or None where any part is unknown: a sum with holes would look like a saving."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known)


def cumulated(per_round: Sequence[float | None]) -> list[float] | None:
    """Running sums (n_rounds,), None where any round is unknown."""
    known = [value for value in per_round if value is not None]
    return list(itertools.accumulate(known)) if len(known) == len(per_round) else None


def joules_to_accuracy(accuracy: Sequence[float], cumulated_j: Sequence[float], target: float) -> float | None:
    """Joules spent when `accuracy` (n_rounds,) first reaches `target`; None when it never does.

    `cumulated_j` (n_rounds,) are joules at the end of each round. The untrained model is not evaluated, so a target
    that the first round already reaches costs the whole of that round.
    """
    previous_a, previous_j = None, 0.0
    for a, j in zip(accuracy, cumulated_j, strict=True):
        if a >= target:
            if previous_a is None:
                return j
            return previous_j + (target - previous_a) / (a - previous_a) * (j - previous_j)
        previous_a, previous_j = a, j
    return None


def joules_to_hold(accuracy: Sequence[float], cumulated_j: Sequence[float], target: float) -> float | None:
    """Joules spent when HELD_ROUNDS rounds in a row have ended at `target` or above; None where none did.

    `accuracy` and `cumulated_j` (n_rounds,) as in `joules_to_accuracy`; counted to the end of the last of those rounds.
    """
    for end in range(HELD_ROUNDS, len(accuracy) + 1):
        if min(accuracy[end - HELD_ROUNDS : end]) >= target:
            return cumulated_j[end - 1]
    return None


def added_by_round(rounds: Sequence[RoundRow]) -> list[float | None]:
    """Joules above the idle floor of each round, all devices, abandoned work included."""
    return [total(task.added_j for task in row.tasks) for row in rounds]


def board_by_round(rounds: Sequence[RoundRow]) -> list[float | None]:
    """Joules at the meters' whole boundary of each round, all devices, while they had a task."""
    return [total(task.board_j for task in row.tasks) for row in rounds]


def share(values: Iterable[bool | None]) -> float | None:
    """How many of the known values are true; None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def starved_share(strategies: Iterable[StrategyRun]) -> float | None:
    """Starved training windows over all windows whose state is known; None where none is."""
    return share(w.starved for run in strategies for row in run.rounds for task in row.tasks for w in task.windows)


def work_by_device(run: StrategyRun) -> dict[str, tuple[float | None, float | None]]:
    """By device: joules as planned and as measured, both over the tasks whose update was accepted."""
    return {
        device: (total(task.planned_j for task in tasks), total(task.work_j for task in tasks))
        for device, tasks in accepted_by_device(run).items()
    }


def uncertainty_by_device(run: StrategyRun) -> dict[str, float | None]:
    """By how many joules the measured ones of `work_by_device` may be off: a meter's errors add up over tasks."""
    return {
        device: total(task.work_uncertainty_j for task in tasks) for device, tasks in accepted_by_device(run).items()
    }


def accepted_by_device(run: StrategyRun) -> dict[str, list[TaskRow]]:
    """The tasks whose update was accepted, by device."""
    by_device: dict[str, list[TaskRow]] = {}
    for row in run.rounds:
        for task in row.tasks:
            if task.accepted:
                by_device.setdefault(task.device, []).append(task)
    return dict(sorted(by_device.items()))


@dataclass(frozen=True)
class Summary:
    """One strategy in numbers; field names are the keys of report.json."""

    accuracy_by_round: tuple[float, ...]
    energy_added_j: float | None
    energy_board_j: float | None
    known_added_j: float | None
    known_board_j: float | None
    devices: int
    devices_with_joules: int
    joules_to_common_accuracy: float | None
    board_joules_to_common_accuracy: float | None
    joules_to_hold_common_accuracy: float | None
    board_joules_to_hold_common_accuracy: float | None
    planned_j: float | None
    measured_j: float | None
    seconds: float
    up_bytes: int
    down_bytes: int
    synth_bytes: int
    synth_bytes_spared: int
    samples_trained: int
    starved_share: float | None
    full_accuracy: float | None
    joules_by_device: dict[str, tuple[float | None, float | None]]
    uncertainty_j_by_device: dict[str, float | None]


def common_accuracy(strategies: Sequence[StrategyRun]) -> float | None:
    """The accuracy that `tfl` ends with on the test images of each round; None without a finished round of `tfl`."""
    for run in strategies:
        if run.name == BASELINE and run.rounds:
            return run.rounds[-1].accuracy
    return None


def summarise(run: StrategyRun, target: float | None) -> Summary:
    """One strategy's numbers; `target` is the common accuracy, None where there is none."""
    accuracy = [row.accuracy for row in run.rounds]
    tasks = [task for row in run.rounds for task in row.tasks]
    added, board = added_by_round(run.rounds), board_by_round(run.rounds)
    work = work_by_device(run)
    blind = {task.device for task in tasks if task.added_j is None}
    known = [task for task in tasks if task.device not in blind]

    def to_target(per_round: Sequence[float | None], spent: Spent = joules_to_accuracy) -> float | None:
        sums = cumulated(per_round)
        if target is None or sums is None:
            return None
        return spent(accuracy, sums, target)

    return Summary(
        accuracy_by_round=tuple(accuracy),
        energy_added_j=total(added),
        energy_board_j=total(board),
        known_added_j=total(task.added_j for task in known) if known else None,
        known_board_j=total(task.board_j for task in known) if known else None,
        devices=len({task.device for task in tasks}),
        devices_with_joules=len({task.device for task in known}),
        joules_to_common_accuracy=to_target(added),
        board_joules_to_common_accuracy=to_target(board),
        joules_to_hold_common_accuracy=to_target(added, joules_to_hold),
        board_joules_to_hold_common_accuracy=to_target(board, joules_to_hold),
        planned_j=total(planned for planned, _ in work.values()) if work else None,
        measured_j=total(measured for _, measured in work.values()) if work else None,
        seconds=sum(row.seconds for row in run.rounds),
        up_bytes=sum(task.up_bytes for task in tasks),
        down_bytes=sum(task.down_bytes for task in tasks),
        synth_bytes=sum(row.synth_bytes for row in run.rounds),
        synth_bytes_spared=sum(row.synth_bytes_spared for row in run.rounds),
        samples_trained=sum(task.samples for task in tasks),
        starved_share=starved_share([run]),
        full_accuracy=run.full_accuracy,
        joules_by_device=work,
        uncertainty_j_by_device=uncertainty_by_device(run),
    )


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole, None where either is unknown or the whole is nothing."""
    return part / whole if part is not None and whole else None


def comparable(data: RunData) -> str | None:
    """Why the strategies of this run must not be compared, in a sentence; None where nothing speaks against it."""
    share = starved_share(data.strategies)
    if share is not None and share > STARVED_LIMIT:
        return (
            f"{share:.1%} of the training windows were starved of processor time (limit {STARVED_LIMIT:.0%}): "
            "the host was busy with something else, so joules and seconds of this run do not compare"
        )
    target = common_accuracy(data.strategies)
    if target is None:
        return f"there is no finished round of {BASELINE} to compare with"
    n_rounds = next(len(run.rounds) for run in data.strategies if run.name == BASELINE)
    if n_rounds < MIN_ROUNDS:
        return f"{n_rounds} rounds of {BASELINE} are too few to compare strategies by (at least {MIN_ROUNDS})"
    guessing = 1 / len(data.class_names)
    if target < guessing + MIN_SKILL * (1 - guessing):
        return f"{BASELINE} ends at an accuracy of {target:.1%}, too near to guessing to compare strategies by"
    return None
