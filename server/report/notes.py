"""What a reader of a run's numbers must know before, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge_client.protocol.messages import OppPoint
from server.config import RunConfig
from server.measured import unmeasured_uploads
from server.run_dir import Enrolled, RunDir


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


def strayed(point: OppPoint) -> str:
    """How a board failed a clock of its profile: "614 MHz was 1479 MHz by work (not applied)"."""
    seen = f"{point.verified_hz / 1e6:.0f} MHz by {point.verified_by}" if point.verified_hz else "not known"
    return f"{(point.freq_hz or 0.0) / 1e6:.0f} MHz was {seen} ({(point.finding or '').replace('_', ' ')})"
