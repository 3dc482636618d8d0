"""A run directory -> `RunData`. Nothing but its files is read; what they lack is said in `notes`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from edge_client.protocol.messages import EnergyReading, OppPoint, SegmentOutcome, TaskClosed, Update
from server.closed_loop import misses
from server.config import RunConfig, load_config
from server.errors import DataError, FleetError
from server.outlay import Choice
from server.plan.problem import EnergyBasis
from server.replanning import believe
from server.report.metrics import total
from server.report.values import (
    DeviceRow,
    LoopRow,
    MissRow,
    OutlayData,
    OutlayRow,
    PlanRow,
    RoundRow,
    RunData,
    Samples,
    StrategyRun,
    TaskRow,
    WindowRow,
)
from server.run_dir import Enrolled, RoundRecord, RunDir, RunInfo, StrategyPlan
from server.strategies import measured_table, planner_device, unmeasured_uploads

SAMPLES_PER_DEVICE = 200


def load_run(path: Path) -> RunData:
    """Read everything a report needs; raises DataError where there is no run or a file is broken."""
    folder = RunDir.open(path)
    config = load_config(path / "config.toml")
    info = folder.load("run.json", RunInfo)
    devices = folder.devices()
    strategies = tuple(load_strategy(folder, name, config.plan.energy_basis) for name in config.strategies)
    ids = [device.id for device in devices]
    return RunData(
        id=info.id,
        name=config.name,
        seed=config.seed,
        energy_basis=config.plan.energy_basis,
        devices=tuple(device_row(device) for device in devices),
        strategies=tuple(run for run in strategies if run.rounds),
        class_names=info.class_names,
        real=collect(folder, [f"data/{device}.npz" for device in ids]),
        synthetic=collect(folder, [folder.shard_name(run.name, d) for run in strategies for d in ids]),
        config_text=without_passwords((path / "config.toml").read_text()),
        versions=info.versions,
        notes=tuple(notes(config, folder, devices)),
        outlay=outlay_data(folder.load("outlay.json", Choice)) if folder.has("outlay.json") else None,
        learning=json.loads((path / "learning.json").read_text()) if folder.has("learning.json") else None,
    )


def without_passwords(text: str) -> str:
    """The run file for a page that is passed on: who we are at the broker is left out."""
    return re.sub(r"(mqtts?://).*@", r"\1...@", text)


def device_row(device: Enrolled) -> DeviceRow:
    """What the report shows of a device."""
    able = device.join.capabilities
    return DeviceRow(
        id=device.id,
        board=able.board,
        label_counts=device.join.label_counts,
        meter=able.meter,
        source=able.meter_source,
        boundary=able.boundary,
        idle_power_w=device.profile.idle.idle_power_w,
    )


def load_strategy(folder: RunDir, name: str, basis: EnergyBasis) -> StrategyRun:
    """One strategy as far as it got: plan, rounds, and the evaluation at its end, each where its file is there."""
    records = folder.rounds(name)
    last_words = settle(records, folder.take_stray(name))
    return StrategyRun(
        name=name,
        rounds=tuple(round_row(record, last_words[record.wire_round], basis) for record in records),
        plan=plan_row(folder.plan(name)) if folder.has(f"plan-{name}.json") else None,
        test_samples=records[-1].test_samples if records else None,
        full_accuracy=folder.final(name).accuracy if folder.has(f"final-{name}.json") else None,
        loop=loop_row(folder, name, records),
    )


def loop_row(folder: RunDir, name: str, records: tuple[RoundRecord, ...]) -> LoopRow | None:
    """What the rounds measured against what was foretold, and the plans that came of it."""
    wanted = {device for record in records for device in record.planned}
    try:
        devices = [
            planner_device(device, None)
            for device in folder.devices()
            if device.id in wanted and measured_table(device) is not None
        ]
    except FleetError:
        return None
    if not devices:
        return None
    _, seen = believe(devices, records)
    return LoopRow(
        predictions=len(seen),
        misses=tuple(
            MissRow(one.device, one.round, one.what, one.outlook.predicted, one.outlook.measured, one.outlook.deviation)
            for one in misses(seen)
        ),
        revisions=tuple((one.round, one.reason) for one in folder.revisions(name)),
    )


def outlay_data(choice: Choice) -> OutlayData:
    """What the report shows of the choice between amounts of data."""
    rows = tuple(OutlayRow(one.fill_factor, one.rounds, one.round_j, one.total_j) for one in choice.candidates)
    return OutlayData(choice.target_accuracy, rows)


def plan_row(chosen: StrategyPlan) -> PlanRow:
    """What the report shows of a plan."""
    devices = chosen.plan.devices
    return PlanRow(
        method=chosen.plan.method,
        round_s=chosen.round_s,
        target_error=chosen.target_error,
        energy_j=None if chosen.unplanned else chosen.plan.executed_energy_j,
        gap=chosen.plan.executed_gap if chosen.certified else None,
        samples=sum(device.executed_samples for device in devices) + sum(own.samples for own in chosen.unplanned),
        synth_counts={device.id: device.synth_counts for device in devices},
    )


def settle(records: Iterable[RoundRecord], leftover: Iterable[TaskClosed]) -> dict[int, list[TaskClosed]]:
    """By wire round: every last word on a task, each once by device, run and round.

    One that came late counts for the round it belongs to; one of a round that never came to a record counts for the
    record that took it up, or for the last: its joules were spent either way.
    """
    records = tuple(records)
    if not records:
        return {}
    by_round = {record.wire_round: record for record in records}
    on_record: dict[int, dict[tuple[str, str, int], TaskClosed]] = {wire_round: {} for wire_round in by_round}

    def put(closed: TaskClosed, otherwise: int) -> None:
        home = closed.round if closed.round in by_round and is_on(closed, by_round[closed.round]) else otherwise
        on_record[home].setdefault((closed.device, closed.run, closed.round), closed)

    for record in records:
        for closed in (*record.closed, *record.stray):
            put(closed, record.wire_round)
    for closed in leftover:
        put(closed, records[-1].wire_round)
    return {wire_round: list(closed.values()) for wire_round, closed in on_record.items()}


def is_on(closed: TaskClosed, record: RoundRecord) -> bool:
    """Whether it is a last word on this very round: its number, in the attempt that it was run in."""
    runs = [*(word.run for word in record.closed), *(update.run for update in record.updates)]
    run = runs[0] if runs else closed.run
    return (closed.run, closed.round) == (run, record.wire_round)


def round_row(record: RoundRecord, last_words: Iterable[TaskClosed], basis: EnergyBasis) -> RoundRow:
    """One round; a device without a last word stands in it with unknown joules."""
    updates = {update.device: update for update in record.updates}
    rows, heard = [], set()
    for closed in last_words:
        own = is_on(closed, record)
        heard |= {closed.device} if own else set()
        accepted = own and record.verdicts.get(closed.device) == "accepted"
        update = updates.get(closed.device) if own else None
        planned = record.planned.get(closed.device)
        rows.append(
            TaskRow(
                device=closed.device,
                accepted=accepted,
                added_j=closed.energy.added_j,
                board_j=closed.energy.energy_j,
                planned_j=total((planned.compute_j, planned.upload_j)) if accepted and planned else None,
                work_j=work_j(update, basis) if accepted and update else None,
                up_bytes=closed.bytes_sent,
                down_bytes=closed.bytes_received,
                samples=closed.samples_trained,
                windows=tuple(map(window_row, update.segments)) if update else (),
            )
        )
    silent = set(record.lost) - heard  # a word on an earlier round says nothing of this one
    rows += [TaskRow(device=device, accepted=False, added_j=None, board_j=None) for device in sorted(silent)]
    return RoundRow(round=record.round, accuracy=record.accuracy, seconds=record.duration_s, tasks=tuple(rows))


def window_row(segment: SegmentOutcome) -> WindowRow:
    """What the report says of a training window."""
    return WindowRow(
        requested_hz=segment.requested_hz,
        accepted_hz=segment.accepted_hz,
        verified_hz=segment.verified_hz,
        violation_s=segment.violation_s,
        throttled=segment.throttled,
        starved=segment.starved,
        finding=segment.finding,
        limits=segment.limits,
    )


def strayed(point: OppPoint) -> str:
    """How a board failed a clock of its profile: "614 MHz was 1479 MHz by work (not applied)"."""
    seen = f"{point.verified_hz / 1e6:.0f} MHz by {point.verified_by}" if point.verified_hz else "not known"
    return f"{(point.freq_hz or 0.0) / 1e6:.0f} MHz was {seen} ({(point.finding or '').replace('_', ' ')})"


def work_j(update: Update, basis: EnergyBasis) -> float | None:
    """Measured joules of training and upload, on the plan's basis."""

    def on_basis(reading: EnergyReading) -> float | None:
        return reading.added_j if basis == "added" else reading.energy_j

    return total([on_basis(update.compute), on_basis(update.upload.energy)])


def collect(folder: RunDir, names: Iterable[str]) -> Samples | None:
    """Images and labels of several .npz files, the first few hundred of each; None where there is no file."""
    parts = [folder.load_arrays(name) for name in names if folder.has(name)]
    parts = [part for part in parts if len(part["y"])]
    if not parts:
        return None
    if len({part["x"].shape[1:] for part in parts}) > 1:
        raise DataError(f"{folder.path}: the devices' images differ in size")
    return Samples(
        images=np.concatenate([part["x"][:SAMPLES_PER_DEVICE] for part in parts]),
        labels=np.concatenate([part["y"][:SAMPLES_PER_DEVICE] for part in parts]).astype(np.int64),
    )


def notes(config: RunConfig, folder: RunDir, devices: Iterable[Enrolled]) -> Iterator[str]:
    """What a reader must know before reading the numbers."""
    boards = {board.id for board in config.boards}
    if boards:
        yield (
            f"{len(boards)} of the devices are virtual boards: real processes with a really slowed clock, whose power "
            "sensors follow a model with recorded parameters. Their joules are those of the model."
        )
    unmetered = [device.id for device in devices if device.join.capabilities.meter_source == "unavailable"]
    if unmetered:
        yield (
            f"No power could be measured on {', '.join(unmetered)}: their joules are not known, before or after, and "
            "sums say of how many devices they are."
        )
    modelled = [device.id for device in devices if device.join.capabilities.meter_source == "modelled"]
    if modelled:
        yield f"The joules of {', '.join(modelled)} come from a model of load and clock, not from a meter."
    for device in devices:
        if device.calibration is not None:
            yield f"{device.id}: {device.calibration.why}."
    if unknown := unmeasured_uploads(devices):
        yield f"The upload power of {', '.join(unknown)} could not be measured; plans count it as free."
    starved = [device.id for device in devices if any(point.starved for point in device.profile.points)]
    if starved:
        yield f"The profile of {', '.join(starved)} was measured while the host was short of processor time."
    for device in devices:
        if wrong := [strayed(point) for point in device.profile.points if point.finding]:
            said = "; ".join(wrong)
            yield f"{device.id} did not keep its clock when it was profiled: {said}. Plans count on what it did."
    attempts = sum(event["event"] == "started" for event in folder.events())
    if attempts > 1:
        yield (
            f"The run was interrupted and taken up again, in {attempts} attempts. What devices spent on a round that "
            "was under way is counted where they could still say so; where the server was killed, their joules of that "
            "moment may be missing."
        )
    for name in config.strategies:
        records = folder.rounds(name)
        if len(records) < config.training.rounds:
            yield f"{name}: {len(records)} of {config.training.rounds} rounds are on record."
        elif not folder.has(f"final-{name}.json"):
            yield f"{name}: its model was not evaluated on all test images; the run was interrupted before."
        failed = sum(record.status == "failed" for record in records)
        if failed:
            yield f"{name}: {failed} of {len(records)} rounds found no quorum; their joules are counted."
        lost = sum(len(record.lost) for record in records)
        if lost:
            yield f"{name}: {lost} times a device said no last word on its task in time."
