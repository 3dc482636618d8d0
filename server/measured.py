"""Devices as the planner sees them, from what was measured on them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edge_client.protocol.messages import Join
from server.clocks import by_clock
from server.errors import FleetError, InfeasibleError
from server.plan.problem import Device, OppTable, Radio
from server.records import Enrolled
from server.uplinks import radios

MOST_SAMPLES = 2**31 - 1
"""Of a device; more than any has, and whoever claims more would break sums over the fleet."""


def planner_devices(
    enrolled: Iterable[Enrolled], storage_limit: int | None, shared_bits_per_s: float | None
) -> list[Device]:
    """Those of a run's devices whose joules are known, with the links that they have (`uplinks`)."""
    enrolled = tuple(enrolled)
    blind = {device.id for device in enrolled if measured_table(device) is None}
    found = radios({device.id: device.link for device in enrolled}, shared_bits_per_s, blind)
    return [planner_device(device, storage_limit, found[device.id]) for device in enrolled if device.id not in blind]


def planner_device(enrolled: Enrolled, storage_limit: int | None, radio: Radio | None = None) -> Device:
    """A device from its measurements, on a link of its own if no `radio` is given; raises FleetError where they do not
    carry a plan.

    An upload whose power could not be measured is planned as free, see `unmeasured_uploads`.
    """
    join = enrolled.join
    if sum(join.label_counts) > MOST_SAMPLES:
        raise FleetError(
            f"{join.device} says it has {sum(join.label_counts)} samples: no device has over {MOST_SAMPLES}"
        )
    storage = join.storage_samples if storage_limit is None else min(join.storage_samples, storage_limit)
    return Device(
        id=join.device,
        local_counts=np.array(join.label_counts, dtype=np.int32),
        storage_samples=storage,
        upload_bits=float(enrolled.link.up_bits),
        cpu=opp_table(enrolled),
        radio=radio or radios({enrolled.id: enrolled.link}, None)[enrolled.id],
    )


def unmeasured_uploads(enrolled: Iterable[Enrolled]) -> tuple[str, ...]:
    """Ids of devices whose power while sending could not be measured: their plans count no joules for the upload."""
    return tuple(device.id for device in enrolled if device.link.power_w is None and measured_table(device) is not None)


def opp_table(enrolled: Enrolled) -> OppTable:
    """`measured_table`; raises FleetError where there is none."""
    table = measured_table(enrolled)
    if table is None:
        raise FleetError(no_joules(enrolled.join))
    return table


def no_joules(join: Join) -> str:
    """Why a device cannot be planned, and both remedies."""
    return (
        f"{join.device} has no power meter (meter: {join.capabilities.meter}): no plan without joules; give it a meter "
        "that `fimi-client doctor` finds, or `calibration` in its client.toml (fimi-calibrate makes it), or leave the "
        'device out; strategy = "tfl" alone needs no joules'
    )


def measured_table(enrolled: Enrolled) -> OppTable | None:
    """The measured points, each under the clock that the board ran at, and those of its calibration; None where joules
    or the idle floor are not known. The planner takes their convex hull; there may be a single one.

    Starved points are left out where two sound ones remain. Else they are all there is: they show the board slower and
    dearer than it is, the report says so, and the run's own starved share decides whether it may be compared.
    """
    idle_w = enrolled.profile.idle.idle_power_w
    points = by_clock(enrolled.profile.points, enrolled.join.capabilities.opps_hz)
    sound = [point for point in points if not point.starved]
    sound = sound if len(sound) >= 2 else points
    if idle_w is None or not sound or any(point.j_per_sample is None for point in sound):
        return None
    foretold = enrolled.calibration.points if enrolled.calibration is not None else ()
    rows = [(_or_nan(point.freq_hz), point.s_per_sample, point.j_per_sample or 0.0) for point in sound]
    rows = sorted([*rows, *((point.freq_hz, point.s_per_sample, point.j_per_sample) for point in foretold)])
    freq_hz, s_per_sample, j_per_sample = np.array(rows).T
    return OppTable(freq_hz=freq_hz, s_per_sample=s_per_sample, j_per_sample=j_per_sample, power_idle_w=idle_w)


def _or_nan(freq_hz: float | None) -> float:
    """A clock in the planner's arrays, where NaN stands for one that is not known."""
    return np.nan if freq_hz is None else freq_hz


def pick_freqs(opps_hz: Sequence[float], wanted: int, slowest: float) -> tuple[float, ...]:
    """`wanted` of a board's operating points from `slowest` (a share of the highest) up, evenly spread, falling.

    The highest comes first: whatever a runtime does only once is then done at full speed.
    """
    top = max(opps_hz, default=0.0)
    opps = sorted((f for f in opps_hz if f >= slowest * top), reverse=True)
    if len(opps) <= wanted:
        return tuple(opps)
    return tuple(opps[i] for i in np.linspace(0, len(opps) - 1, wanted).round().astype(int))


def top_point(device: Device) -> tuple[float | None, float, float]:
    """(Hz, seconds a sample, whole-board joules a sample) at a device's highest measured clock; None Hz: not known."""
    if not isinstance(device.cpu, OppTable):
        raise InfeasibleError(f"{device.id} has no measured operating points")
    at = int(np.argmax(device.cpu.freq_hz))
    freq_hz = float(device.cpu.freq_hz[at])
    seconds, joules = float(device.cpu.s_per_sample[at]), float(device.cpu.j_per_sample[at])
    return None if np.isnan(freq_hz) else freq_hz, seconds, joules
