"""A run directory -> `RunData`. Nothing but its files is read; what they lack is said in `notes`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edge_client.protocol.messages import EnergyReading, SegmentOutcome, TaskClosed, Update
from server.closed_loop import misses
from server.config import RunConfig, load_config
from server.errors import DataError, FleetError
from server.measured import planner_devices
from server.outlay import Choice
from server.plan.problem import EnergyBasis
from server.replanning import believe
from server.report.metrics import total
from server.report.notes import notes
from server.report.uploads import upload_row
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

SAMPLES_PER_DEVICE = 200


def load_run(path: Path) -> RunData:
    """Read everything a report needs; raises DataError where there is no run or a file is broken."""
    folder = RunDir.open(path)
    config = load_config(path / "config.toml")
    info = folder.load("run.json", RunInfo)
    devices = folder.devices()
    strategies = tuple(load_strategy(folder, name, config) for name in config.strategies)
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


def load_strategy(folder: RunDir, name: str, config: RunConfig) -> StrategyRun:
    """One strategy as far as it got: plan, rounds, and the evaluation at its end, each where its file is there."""
    records, basis = folder.rounds(name), config.plan.energy_basis
    up_bits = {device.id: device.link.up_bits for device in folder.devices()}
    last_words = settle(records, folder.take_stray(name))
    return StrategyRun(
        name=name,
        rounds=tuple(round_row(record, last_words[record.wire_round], basis, up_bits) for record in records),
        plan=plan_row(folder.plan(name)) if folder.has(f"plan-{name}.json") else None,
        test_samples=records[-1].test_samples if records else None,
        full_accuracy=folder.final(name).accuracy if folder.has(f"final-{name}.json") else None,
        loop=loop_row(folder, name, records, config.fleet.shared_link_bits_per_s),
    )


def loop_row(
    folder: RunDir, name: str, records: tuple[RoundRecord, ...], shared_bits_per_s: float | None
) -> LoopRow | None:
    """What the rounds measured against what was foretold, and the plans that came of it."""
    wanted = {device for record in records for device in record.planned}
    try:
        joined = [device for device in folder.devices() if device.id in wanted]
        devices = planner_devices(joined, None, shared_bits_per_s)
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


def round_row(
    record: RoundRecord,
    last_words: Iterable[TaskClosed],
    basis: EnergyBasis,
    up_bits: Mapping[str, int] = MappingProxyType({}),
) -> RoundRow:
    """One round; a device without a last word stands in it with unknown joules. `up_bits` are those of an upload that
    plans count on, by device."""
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
                work_uncertainty_j=work_uncertainty_j(update) if accepted and update else None,
                up_bytes=closed.bytes_sent,
                down_bytes=closed.bytes_received,
                samples=closed.samples_trained,
                windows=tuple(map(window_row, update.segments)) if update else (),
                upload=upload_row(update, planned, up_bits.get(closed.device)) if update else None,
            )
        )
    silent = set(record.lost) - heard  # a word on an earlier round says nothing of this one
    rows += [TaskRow(device=device, accepted=False, added_j=None, board_j=None) for device in sorted(silent)]
    return RoundRow(
        round=record.round,
        accuracy=record.accuracy,
        seconds=record.duration_s,
        tasks=tuple(rows),
        synth_bytes=sum(one.bytes_sent for one in record.samples),
        synth_bytes_spared=sum(one.bytes_spared for one in record.samples),
    )


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


def work_j(update: Update, basis: EnergyBasis) -> float | None:
    """Measured joules of training and upload, on the plan's basis."""

    def on_basis(reading: EnergyReading) -> float | None:
        return reading.added_j if basis == "added" else reading.energy_j

    return total([on_basis(update.compute), on_basis(update.upload.energy)])


def work_uncertainty_j(update: Update) -> float | None:
    """By how many joules `work_j` may be off, on either basis: what is uncertain of all joules stays with the part
    above idle, and one meter's errors in training and upload do not cancel."""
    readings = (update.compute, update.upload.energy)
    if any(reading.uncertainty is None or reading.energy_j is None for reading in readings):
        return None
    return sum((reading.uncertainty or 0.0) * (reading.energy_j or 0.0) for reading in readings)


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
