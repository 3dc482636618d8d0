"""From a run directory to report.json, report.html and figures/."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from server.files import write_atomic
from server.report import drawing, figures, metrics, tables, uploads
from server.report.clocks import clocks_by_device
from server.report.foretold import foretold, reached
from server.report.load import load_run
from server.report.metrics import Summary
from server.report.page import page
from server.report.values import OutlayData, RunData

MEANING = (
    "Added joules are those above each board's idle floor, from receipt of a task to the acknowledgement of its "
    "update, over all devices, abandoned work included; whole-board joules are everything its meter saw meanwhile.",
    f"The common accuracy is the one {metrics.BASELINE} ends with. What a strategy needs to reach it is read off a "
    "straight line between two rounds, at the first crossing.",
)


def build_report(run_dir: Path) -> dict[str, Any]:
    """Write report.json, report.html and figures/ into a run directory; return what report.json holds.

    Raises DataError where the directory is no run, or a file of it is broken.
    """
    data = load_run(run_dir)
    target = metrics.common_accuracy(data.strategies)
    summaries = {run.name: metrics.summarise(run, target) for run in data.strategies}
    report = as_json(data, summaries, target)
    drawings = figures.draw_all(data)
    svgs = [drawing.save(one, run_dir / "figures") for one in drawings]
    write_atomic(
        run_dir / "report.html", as_page(data, summaries, target, list(zip(drawings, svgs, strict=True))).encode()
    )
    write_atomic(run_dir / "report.json", msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return report


def as_json(data: RunData, summaries: dict[str, Summary], target: float | None) -> dict[str, Any]:
    """What report.json holds (server/README.md lists it); None where a value is unknown or was never reached."""
    return {
        "run": data.id,
        "strategies": {name: dataclasses.asdict(summary) for name, summary in summaries.items()},
        "common_accuracy": target,
        "comparable": metrics.comparable(data) is None,
        "not_comparable_because": metrics.comparable(data),
        "starved_share": metrics.starved_share(data.strategies),
        "clocks": {name: dataclasses.asdict(clock) for name, clock in clocks_by_device(data.strategies).items()},
        "uploads": {
            run.name: {device: dataclasses.asdict(found) for device, found in uploads.uploads_by_device(run).items()}
            for run in data.strategies
        },
        "loop": {run.name: dataclasses.asdict(run.loop) for run in data.strategies if run.loop},
        "outlay": None if data.outlay is None else as_outlay(data, data.outlay),
        "energy_basis": data.energy_basis,
        "seeds": [data.seed],
        "versions": data.versions,
        "notes": list(data.notes),
    }


def as_outlay(data: RunData, outlay: OutlayData) -> dict[str, Any]:
    """The prediction for the whole training with what each strategy took."""
    measured = {run.name: dataclasses.asdict(reached(run, outlay.target_accuracy)) for run in data.strategies}
    return dataclasses.asdict(outlay) | {"strategies": measured}


def as_page(
    data: RunData, summaries: dict[str, Summary], target: float | None, drawn: list[tuple[drawing.Drawing, str]]
) -> str:
    """report.html."""
    warning = metrics.comparable(data)
    test_samples = next((run.test_samples for run in data.strategies if run.test_samples), None)
    lead = [
        f"{len(data.devices)} devices, seed {data.seed}, strategies {', '.join(summaries)}."
        + (f" Accuracy by round is on {test_samples:,} test images." if test_samples else ""),
        *MEANING,
    ]
    versions = tables.Table("Versions", ("Package", "Version"), tuple(data.versions.items()))
    share = metrics.starved_share(data.strategies)
    starved = (
        "Whether training windows were starved of processor time is not known."
        if share is None
        else f"{share:.1%} of the training windows were starved of processor time; "
        f"above {metrics.STARVED_LIMIT:.0%} a run is not compared."
    )
    return page(
        title=f"Run {data.id}",
        lead=lead,
        warning=warning,
        tables=[tables.headline(summaries, target, compare=warning is None), tables.totals(summaries)],
        figures=drawn,
        notes=[starved, *data.notes],
        details=[
            table
            for table in (
                tables.plans(data),
                foretold(data),
                tables.learning(data),
                tables.devices(data),
                tables.work(summaries),
                uploads.table(data.strategies),
                tables.clocks(clocks_by_device(data.strategies)),
                tables.foresight(data),
                tables.missed(data),
                versions,
            )
            if table is not None
        ],
        config_text=data.config_text,
    )
