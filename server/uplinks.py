"""How the uploads of a run share a link, where they do. Pure.

By default every device has a link of its own, as fast as it was measured. With `fleet.shared_link_bits_per_s` all take
turns on one, an access point or the line behind it: a device has the link for some part of the time, and sends at its
own measured rate, at most the link's, while it is its turn (models/radio.py, "shared_link"). The planner chooses the
parts, and a device's upload is paced to the rate that its part comes to. A transmitter draws for as long as the bits
take at its own rate, however they are spread.

Devices that cannot be planned get the part they would have if everybody sent at once, and planned ones share the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from models.radio import link_share, shared_joules
from server.plan.problem import Device, DevicePlan, Radio
from server.records import LinkMeasurement, LinkShare


def at_once(links: Mapping[str, LinkMeasurement], shared_bits_per_s: float | None) -> dict[str, LinkShare]:
    """The parts of a shared link if everybody sends at once and all end together; empty where nothing is shared."""
    if shared_bits_per_s is None or len(links) < 2:
        return {}
    alone_s = {id_: link.up_bits / _rate(link, shared_bits_per_s) for id_, link in links.items()}
    all_s = sum(alone_s.values())
    return {id_: LinkShare(bits_per_s=link.up_bits / all_s, part=alone_s[id_] / all_s) for id_, link in links.items()}


def radios(
    links: Mapping[str, LinkMeasurement], shared_bits_per_s: float | None, unplanned: Collection[str] = ()
) -> dict[str, Radio]:
    """The radios of all planned devices; an upload whose power could not be measured is free."""
    planned = {id_: link for id_, link in links.items() if id_ not in unplanned}
    crowd = at_once(links, shared_bits_per_s)
    if shared_bits_per_s is None or not crowd:
        return {
            id_: Radio(kind="wired", overhead_w=link.power_w or 0.0, link_bits_per_s=link.up_bits_per_s)
            for id_, link in planned.items()
        }
    left = 1.0 - sum(crowd[id_].part for id_ in unplanned)
    return {id_: _shared(link, left * _rate(link, shared_bits_per_s)) for id_, link in planned.items()}


def _shared(link: LinkMeasurement, bits_per_s: float) -> Radio:
    """A radio that has `bits_per_s` while it is its turn. It draws for as long as the bits take at its own rate, which
    may be a part of the turn: that many joules as mean watts of the turn."""
    watts = (link.power_w or 0.0) * bits_per_s / link.up_bits_per_s
    return Radio(kind="shared_link", tx_power_w=watts, link_bits_per_s=bits_per_s)


def _rate(link: LinkMeasurement, shared_bits_per_s: float) -> float:
    """Bits a second of a device while it is its turn."""
    return min(link.up_bits_per_s, shared_bits_per_s)


def shares(devices: Iterable[Device], plans: Iterable[DevicePlan]) -> dict[str, LinkShare]:
    """What each executed upload holds of the link that the devices share; empty where each has its own.

    The parts are of what `Device.radio` may have: of the whole link, less what is kept for devices without a plan.
    """
    by_id = {device.id: device for device in devices if device.radio.kind == "shared_link"}
    return {
        plan.id: LinkShare(
            bits_per_s=by_id[plan.id].upload_bits / upload_s(plan), part=_part(by_id[plan.id], upload_s(plan))
        )
        for plan in plans
        if plan.id in by_id
    }


def upload_s(plan: DevicePlan) -> float:
    """Seconds of the upload that goes with what is executed."""
    return plan.upload_s if plan.executed_upload is None else plan.executed_upload.upload_s


def upload_seconds(device: Device) -> float:
    """With all of the link."""
    return device.upload_bits / (device.radio.link_bits_per_s or np.inf)


def unplanned_seconds(devices: Iterable[Device]) -> dict[str, float]:
    """Seconds of uploads that nobody plans: on links of their own at full rate, on a shared one all at once."""
    devices = tuple(devices)
    shared_s = sum(upload_seconds(device) for device in devices if device.radio.kind == "shared_link")
    return {device.id: shared_s if device.radio.kind == "shared_link" else upload_seconds(device) for device in devices}


def seconds_now(plans: Iterable[DevicePlan], devices: Mapping[str, Device]) -> dict[str, float]:
    """How long planned uploads take if the devices are what `devices` says.

    On a shared link as long as planned, for they are paced; where their parts come to more than all of the link, all of
    them longer by as much.
    """
    plans = tuple(plans)
    on_link = {plan.id for plan in plans if devices[plan.id].radio.kind == "shared_link"}
    taken = sum(_part(devices[plan.id], upload_s(plan)) for plan in plans if plan.id in on_link)
    return {
        plan.id: upload_s(plan) * max(1.0, taken) if plan.id in on_link else upload_seconds(devices[plan.id])
        for plan in plans
    }


def upload_joules(device: Device, seconds: float, *, added: bool) -> float:
    """Of an upload of so many seconds: over idle, or (not `added`) of the whole board."""
    radio, idle_w = device.radio, 0.0 if added else device.cpu.power_idle_w
    rate = radio.link_bits_per_s or np.inf
    watts = (radio.tx_power_w or 0.0, radio.amplifier_efficiency, radio.overhead_w + idle_w)
    return shared_joules(device.upload_bits, seconds, rate, *watts)


def _part(device: Device, seconds: float) -> float:
    return link_share(device.upload_bits, seconds, device.radio.link_bits_per_s or np.inf)
