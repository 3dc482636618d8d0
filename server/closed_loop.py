"""The loop closes: what updates measured corrects what the next plan believes. Pure; everything comes from records.

Nothing is kept beside the records: beliefs are folded from them anew, so a run that was interrupted believes the same
as one that was not. Starved segments teach nothing. A segment whose board did not keep its clock (throttled, capped,
not obeying) teaches what a request for that clock really brings, and nothing of the other clocks. The same meter
measured profile and rounds, so its scale cancels, and only what differs between the two counts as noise.

A paced upload's rate is not its link's: that the pace was kept says that the link has at least so much, and nothing of
how much more. Only a pace that was missed by far shows the link: its part, and all that nobody had a part of, brought
less than the part alone was to bring.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from edge_client.protocol.messages import SegmentOutcome, Update, UploadOutcome
from server.plan import refit
from server.plan.problem import Device, OppTable
from server.plan.refit import Belief, Outlook
from server.records import LinkShare

LEAST_SEGMENT_S = 1.0
"""Shorter segments say too little: a meter polls ten times a second."""

LEAST_METER_SAMPLES = 5
"""As for the trial upload: fewer in an upload say nothing about its power."""

SAME_CLOCK = 0.01
"""A clock so near to a profiled point, relatively, is that point."""

STRAYED = 0.5
"""Relative standard deviation of what a request brings at a clock that the board does not keep."""

STRAYED_SHARE = 0.1
"""Share of a segment that may be spent off its clock before the clock counts as not kept."""

LINK_NOISE = 0.10
"""Relative standard deviation of an upload's rate and power, in which others' traffic shows."""

PACE_MISSED = 0.2
"""A paced upload that falls short of its rate by this share was held up by the link, not by its pacer."""


@dataclass(frozen=True)
class DeviceBelief:
    """What is believed of one device next to its profile: seconds and whole-board joules a sample at each operating
    point, bits a second of its uplink, watts of its radio over idle."""

    seconds: Belief
    joules: Belief
    rate: Belief
    radio: Belief


@dataclass(frozen=True)
class Seen:
    """One quantity in one round against its prediction: `what` names it with its unit."""

    device: str
    round: int
    what: str
    outlook: Outlook


def first_beliefs(devices: Sequence[Device]) -> dict[str, DeviceBelief]:
    """The profiles as they are, by device; every device has a measured table."""

    def points(count: int) -> Belief:
        return refit.first_belief(np.full(count, math.nan))

    return {
        device.id: DeviceBelief(points(count := len(_table(device).freq_hz)), points(count), points(1), points(1))
        for device in devices
    }


def learn_round(
    devices: Sequence[Device],
    beliefs: dict[str, DeviceBelief],
    round_: int,
    updates: Iterable[Update],
    paced: Mapping[str, LinkShare] = MappingProxyType({}),
) -> tuple[dict[str, DeviceBelief], tuple[Seen, ...]]:
    """The beliefs after a round, and each of its measurements beside what had been expected.

    `paced` are the uploads that were told a rate, by device.
    """
    by_id = {device.id: device for device in devices}
    spare = max(0.0, 1.0 - sum(share.part for id_, share in paced.items() if id_ in by_id))
    after = {id_: _later(belief) for id_, belief in beliefs.items()}
    seen: list[Seen] = []
    for update in updates:
        if update.device not in after:
            continue
        belief = after[update.device]
        for point in _strayed(by_id[update.device], update):
            belief = replace(
                belief,
                seconds=refit.unsettle(belief.seconds, point, STRAYED),
                joules=refit.unsettle(belief.joules, point, STRAYED),
            )
        device, share = by_id[update.device], paced.get(update.device)
        for field, point, what, profiled, measured, noise in _measurements(device, belief, update, share, spare):
            old: Belief = getattr(belief, field)
            seen.append(Seen(update.device, round_, what, refit.outlook(old, point, profiled, measured, noise)))
            belief = replace(belief, **{field: refit.learn(old, point, profiled, measured, noise)})
        after[update.device] = belief
    return after, tuple(seen)


def believed_device(device: Device, belief: DeviceBelief) -> Device:
    """The device as it is now believed to be: the planner's input for the next round."""
    table, radio = _table(device), device.radio
    seconds, joules = table.s_per_sample * belief.seconds.factors, table.j_per_sample * belief.joules.factors
    # Joules over idle must stay above nothing, whatever noise says: a plan could otherwise earn energy by training.
    floor = 1.01 * table.power_idle_w * seconds
    rate = None if radio.link_bits_per_s is None else radio.link_bits_per_s * belief.rate.factor(0)
    return replace(
        device,
        cpu=replace(table, s_per_sample=seconds, j_per_sample=np.maximum(joules, floor)),
        radio=replace(
            radio,
            link_bits_per_s=rate,
            overhead_w=radio.overhead_w * belief.radio.factor(0),
            tx_power_w=None if radio.tx_power_w is None else radio.tx_power_w * belief.radio.factor(0),
        ),
    )


def misses(seen: Iterable[Seen]) -> tuple[Seen, ...]:
    """Those that lie beyond the uncertainty stated for them."""
    return tuple(each for each in seen if each.outlook.missed)


def _table(device: Device) -> OppTable:
    if not isinstance(device.cpu, OppTable):
        raise ValueError(f"{device.id} has no measured operating points to correct")
    return device.cpu


def _later(belief: DeviceBelief) -> DeviceBelief:
    return DeviceBelief(
        *(refit.next_round(part) for part in (belief.seconds, belief.joules, belief.rate, belief.radio))
    )


def _measurements(
    device: Device, belief: DeviceBelief, update: Update, share: LinkShare | None, spare: float
) -> Iterator[tuple[str, int, str, float, float, float]]:
    """(field, point, what, profiled, measured, noise) of everything in an update that can be learned from.

    `belief` is that before the update, `share` the part of a link that its upload was paced to, `spare` the part that
    nobody had.
    """
    table = _table(device)
    for segment in update.segments:
        point = _point(table, segment.requested_hz)
        if point is None or not _tells(segment):
            continue
        at = "a sample" if segment.requested_hz is None else f"a sample at {table.freq_hz[point] / 1e6:.0f} MHz"
        seconds = segment.duration_s / segment.samples
        yield "seconds", point, f"s {at}", float(table.s_per_sample[point]), seconds, 0.0
        joules = segment.energy.energy_j
        if joules is not None and joules > 0:
            yield "joules", point, f"J {at}", float(table.j_per_sample[point]), joules / segment.samples, 0.0
    upload = update.upload
    if not device.radio.link_bits_per_s or upload.duration_s <= 0 or upload.bits <= 0:
        return
    profiled = device.radio.link_bits_per_s
    believed = profiled * belief.rate.factor(0)
    rate = _link_rate(device, upload, share, spare, believed)
    if rate is not None:
        yield "rate", 0, "bit/s of the uplink", profiled, rate, LINK_NOISE
    added = upload.energy.added_j
    if added is None or added <= 0 or upload.energy.samples < LEAST_METER_SAMPLES:
        return
    if device.radio.overhead_w > 0:
        yield "radio", 0, "W of the uplink", device.radio.overhead_w, added / upload.energy.duration_s, LINK_NOISE
    elif device.radio.tx_power_w:  # drawn while it is the device's turn
        # Little is added in much time, so that the meter's error is not small beside it, and does not cancel.
        noise, turn_s = math.hypot(LINK_NOISE, upload.energy.added_uncertainty or 0.0), upload.bits / believed
        yield "radio", 0, "W of the uplink", device.radio.tx_power_w, added / turn_s, noise


def _link_rate(
    device: Device, upload: UploadOutcome, share: LinkShare | None, spare: float, believed: float
) -> float | None:
    """Bits a second that an upload shows a device's link to have; None where it shows nothing new.

    A shared link never has more than was profiled: as much of it is the run's.
    """
    measured = upload.bits / upload.duration_s
    on_link = device.radio.kind == "shared_link"
    if not on_link and upload.radio.share == "none" and share is None:
        return measured
    most = device.radio.link_bits_per_s if on_link and device.radio.link_bits_per_s else math.inf
    if share is not None and measured < (1.0 - PACE_MISSED) * share.bits_per_s:
        return min(measured / (share.part + spare), most)
    measured = min(measured, most)
    return measured if measured > believed else None  # the link has at least what came over it


def _tells(segment: SegmentOutcome) -> bool:
    """Whether anything can be learned from a segment."""
    return not segment.starved and segment.duration_s >= LEAST_SEGMENT_S and segment.samples > 0


def _strayed(device: Device, update: Update) -> set[int]:
    """The points that the board was asked for and did not keep."""
    off = [
        _point(_table(device), segment.requested_hz)
        for segment in update.segments
        if _tells(segment) and (segment.throttled or segment.violation_s > STRAYED_SHARE * segment.duration_s)
    ]
    return {point for point in off if point is not None}


def _point(table: OppTable, freq_hz: float | None) -> int | None:
    """The profiled operating point that a segment ran at."""
    if freq_hz is None:  # asked of boards whose clock cannot be set
        return 0 if len(table.freq_hz) == 1 else None
    point = int(np.abs(table.freq_hz - freq_hz).argmin())  # a clock that is not known, NaN, is none that was asked for
    return point if abs(table.freq_hz[point] / freq_hz - 1.0) <= SAME_CLOCK else None
