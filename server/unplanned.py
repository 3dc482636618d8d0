"""Devices whose joules nobody knows: no meter, no calibration. They train, at whatever clock their boards run. Pure.

A plan weighs joules, so a strategy that is planned refuses them; plain FL does without. What such a device spends is
not known, before and after: every sum says of how many devices it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.config import Strategy
from server.errors import FleetError
from server.plan.diagnosis import PAD, NoPlanError, named
from server.records import Enrolled, LinkShare, OwnPace

UNPLANNED_TOO: tuple[Strategy, ...] = ("tfl", "tfl-top")
"""Strategies that can do with devices which cannot be planned."""


def needs_joules(strategies: Iterable[Strategy]) -> bool:
    """Whether every device of a run must have joules."""
    return any(strategy not in UNPLANNED_TOO for strategy in strategies)


def own_pace(enrolled: Enrolled, local_epochs: int, link: LinkShare | None = None) -> OwnPace:
    """A device that trains its own samples at its board's own clock, or as fast as it was measured; `link` is its part
    of a shared one."""
    samples = sum(enrolled.join.label_counts)
    seconds = min(point.s_per_sample for point in enrolled.profile.points)
    return OwnPace(
        id=enrolled.id,
        samples=samples,
        compute_s=seconds * samples * local_epochs,
        upload_s=enrolled.link.up_bits / (enrolled.link.up_bits_per_s if link is None else link.bits_per_s),
        link=link,
    )


def check_pace(strategy: Strategy, unplanned: Sequence[OwnPace], round_s: float) -> None:
    """Raise FleetError where the strategy needs joules of every device, NoPlanError where one cannot be in time."""
    if unplanned and strategy not in UNPLANNED_TOO:
        who = named(tuple(own.id for own in unplanned))
        raise FleetError(f"{strategy} needs joules, which are not known of {who}; leave the device out")
    late = {own.id: own.compute_s + own.upload_s for own in unplanned if own.compute_s + own.upload_s > round_s}
    if late:
        longest_s = max(late.values())
        raise NoPlanError(
            f"{named(tuple(late))} would need {longest_s:.1f} s for a round of {round_s:.1f} s, at the clock that the "
            "board runs at; give plan.round_s more, or leave the device out",
            "round_s",
            tuple(late),
            longest_s * (1 + PAD),
        )
