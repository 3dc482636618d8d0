"""The report's numbers as rows of text, for HTML and for a terminal alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.report.clocks import ClockSummary
from server.report.metrics import BASELINE, Summary, ratio
from server.report.values import RunData

UNKNOWN = "unknown"
NOT_KNOWN = "–"  # of numbers
NEVER = "never"
MISSES_SHOWN = 12


@dataclass(frozen=True)
class Table:
    """A caption, one header a column, and rows as long as the header; the first cell of a row names it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float | None, digits: int = 0, missing: str = NOT_KNOWN) -> str:
    """1234.5 -> "1,234" or "1,234.5"."""
    return missing if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{100 * value:.{digits}f}%"


def mebibytes(size_bytes: int, digits: int = 1) -> str:
    return f"{size_bytes / 2**20:,.{digits}f}"


def reached(joules: float | None, spent_j: float | None) -> str:
    """Joules to the common accuracy: a number, "never", or a dash where the joules themselves are not known."""
    return number(joules, missing=NOT_KNOWN if spent_j is None else NEVER)


def summed(joules: float | None, known: float | None, s: Summary) -> str:
    """Joules of all devices; where they are not known of all, those of the others, and how many these are."""
    if joules is not None or known is None:
        return number(joules)
    return f"{number(known)} ({s.devices_with_joules} of {s.devices} devices)"


def ratio_text(part: float | None, whole: float | None) -> str:
    value = ratio(part, whole)
    return "–" if value is None else f"{value:.2f}"


def headline(summaries: dict[str, Summary], target: float | None, *, compare: bool) -> Table:
    """What each strategy paid for one accuracy. `compare` False leaves the ratios out."""
    baseline = summaries.get(BASELINE)
    rows = []
    for name, s in summaries.items():
        against = baseline.joules_to_common_accuracy if baseline and compare else None
        against_board = baseline.board_joules_to_common_accuracy if baseline and compare else None
        rows.append(
            (
                name,
                reached(s.joules_to_common_accuracy, s.energy_added_j),
                ratio_text(s.joules_to_common_accuracy, against),
                reached(s.board_joules_to_common_accuracy, s.energy_board_j),
                ratio_text(s.board_joules_to_common_accuracy, against_board),
                percent(s.accuracy_by_round[-1]) if s.accuracy_by_round else UNKNOWN,
                percent(s.full_accuracy),
            )
        )
    goal = f"accuracy {percent(target)}, where {BASELINE} ends" if target is not None else "a common accuracy"
    return Table(
        caption=f"Joules to {goal}",
        header=(
            "Strategy", "Added J", f"÷ {BASELINE}’s", "Whole-board J", f"÷ {BASELINE}’s whole",
            "Accuracy, last round", "Accuracy, all test images",
        ),
        rows=tuple(rows),
    )  # fmt: skip


def totals(summaries: dict[str, Summary]) -> Table:
    """Each strategy's whole way, every device and abandoned work included."""
    rows = tuple(
        (
            name,
            summed(s.energy_added_j, s.known_added_j, s),
            summed(s.energy_board_j, s.known_board_j, s),
            number(s.planned_j),
            number(s.measured_j),
            number(s.seconds),
            number(s.samples_trained),
            mebibytes(s.up_bytes),
            mebibytes(s.down_bytes),
            mebibytes(s.synth_bytes, 2),
            mebibytes(s.synth_bytes_spared, 2),
            percent(s.starved_share),
        )
        for name, s in summaries.items()
    )
    return Table(
        caption="All rounds, all devices",
        header=(
            "Strategy", "Added J", "Whole-board J", "Planned J", "Measured J", "Seconds", "Samples trained",
            "MiB up", "MiB down", "MiB of synthetic samples", "MiB of them spared", "Starved windows",
        ),
        rows=rows,
    )  # fmt: skip


def plans(data: RunData) -> Table:
    """What each strategy was to do in a round."""
    rows = tuple(
        (
            run.name,
            number(run.plan.energy_j, 1),
            number(run.plan.round_s, 1),
            number(run.plan.samples),
            number(sum(map(sum, run.plan.synth_counts.values()))),
            "–" if run.plan.target_error is None else f"{run.plan.target_error:.3f}",
            "–" if run.plan.gap is None else percent(run.plan.gap, 2),
            run.plan.method,
        )
        for run in data.strategies
        if run.plan
    )
    header = (
        "Strategy",
        "Planned J",
        "Seconds",
        "Samples",
        "Synthetic",
        "Mean error allowed",
        "Above the bound",
        "Method",
    )
    return Table("A round, as planned for all devices", header, rows)


def devices(data: RunData) -> Table:
    """Who took part, and how its joules are known."""
    rows = tuple(
        (
            device.id,
            device.board,
            number(sum(device.label_counts)),
            f"{device.meter} ({device.source}{', ' + device.boundary if device.boundary else ''})",
            number(device.idle_power_w, 2),
        )
        for device in data.devices
    )
    return Table("Devices", ("Device", "Board", "Local samples", "Meter", "Idle W"), rows)


def work(summaries: dict[str, Summary]) -> Table:
    """Planned against measured joules of training and upload, by device and strategy: the figure's numbers, and by how
    many joules the measured ones may be off."""
    rows = tuple(
        (
            f"{name} / {device}",
            number(planned, 1),
            number(measured, 1),
            number(s.uncertainty_j_by_device.get(device), 1),
            ratio_text(measured, planned),
        )
        for name, s in summaries.items()
        for device, (planned, measured) in s.joules_by_device.items()
    )
    header = ("Strategy / device", "Planned J", "Measured J", "± J", "÷")
    return Table("Joules by device, accepted updates", header, rows)


def clocks(by_device: dict[str, ClockSummary]) -> Table:
    """Whether each board kept the clocks it was asked for, over all strategies."""
    rows = tuple(
        (
            device,
            number(c.windows),
            number(c.windows_with_clock),
            percent(c.accepted_share),
            percent(c.verified_share),
            number(c.violation_s, 1),
            number(c.throttled_windows),
            percent(c.starved_share),
            ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in c.troubles.items()) or "none",
        )
        for device, c in by_device.items()
    )
    header = (
        "Device",
        "Windows",
        "With a clock",
        "Accepted",
        "Verified",
        "Seconds off it",
        "Throttled",
        "Starved",
        "Trouble (windows)",
    )
    return Table("Clocks of the training windows, hit within 2 %", header, rows)


def foresight(data: RunData) -> Table | None:
    """How many measurements of the rounds came as foretold, and when the plan was revised."""
    rows = tuple(
        (
            run.name,
            number(run.loop.predictions),
            number(len(run.loop.misses)),
            "; ".join(f"from round {round_}: {reason}" for round_, reason in run.loop.revisions) or "–",
        )
        for run in data.strategies
        if run.loop
    )
    header = ("Strategy", "Predictions", "Missed", "Plans revised")
    return Table("Rounds as foretold: missed means by more than twice the stated deviation", header, rows)


def missed(data: RunData) -> Table | None:
    """The predictions that missed by most, at most MISSES_SHOWN of them; report.json has all."""
    found = [(run.name, miss) for run in data.strategies if run.loop for miss in run.loop.misses]
    if not found:
        return None
    found.sort(key=lambda one: -abs(math.log(one[1].measured / one[1].predicted)) / one[1].deviation)
    rows = tuple(
        (
            f"{name} / {miss.round} / {miss.device}",
            miss.what,
            f"{miss.predicted:.4g}",
            f"{miss.measured:.4g}",
            percent(miss.deviation),
        )
        for name, miss in found[:MISSES_SHOWN]
    )
    header = ("Strategy / round / device", "What", "Foretold", "Measured", "Stated deviation")
    return Table("Predictions that missed by most", header, rows)


def learning(data: RunData) -> Table | None:
    """The learning curve and the worth of a synthetic sample that the plans rest on, with 95 % intervals."""
    if data.learning is None:
        return None
    intervals = data.learning.get("intervals", {})
    rows = tuple(
        (name, f"{data.learning[name]:.3f}", " to ".join(f"{end:.3f}" for end in intervals.get(name, ())) or "–")
        for name in ("alpha", "beta", "gamma", "eta")
    )
    measured = data.learning.get("provenance", {}).get("date", "an unknown day")
    return Table(f"error(x) = alpha x^-beta + gamma, measured on {measured}", ("Value", "Fitted", "95 %"), rows)
