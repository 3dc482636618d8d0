"""Synthetic samples on their way to devices: what each task's list means, and the parts of it that are sent.

A device is asked for nothing and remembered for nothing: it says what it lacks of a list, and gets that. The same needs
give the same bytes at any time, so that a device which was interrupted, or whose server was, goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge_client.protocol.shards import Listing, pack_list, pack_shard, unpack_list
from server.records import SamplesSent

_WEIGHED = 128  # samples that stand for all when what was spared is weighed


@dataclass(frozen=True, eq=False)
class Shard:
    """One device's synthetic samples: images (N, H, W, C) uint8 and labels (N,), in the order they are trained. Equal
    lists are equal shards."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shard) and self.packed_list == other.packed_list

    def __hash__(self) -> int:
        return hash(self.packed_list)

    @cached_property
    def packed_list(self) -> bytes:
        """The list as it is sent."""
        return pack_list(self.images, self.labels)

    @cached_property
    def listing(self) -> Listing:
        return unpack_list(self.packed_list)

    def part(self, mask: np.ndarray) -> bytes:
        """The samples of `mask` (N,) bool, packed."""
        return pack_shard(self.images[mask], self.labels[mask])


class Ledger:
    """What was sent of a round's shards, by device, and what was not, because it was there."""

    def __init__(self) -> None:
        self._of: dict[str, SamplesSent] = {}
        self._seen: dict[str, str] = {}  # by device: the list that it was given last

    def open(self) -> None:
        """A new round; lists that devices were given before are still known."""
        self._of = {}

    def first_needs(self, device: str, listing: str) -> bool:
        """Whether this is the first word on a list that the device did not have in the round before: what is spared
        is counted then, once for each change of its samples and not in every round."""
        first = self._seen.get(device) != listing
        self._seen[device] = listing
        return first

    def note(self, device: str, *, sent: int = 0, spared: int = 0, bytes_sent: int = 0, bytes_spared: int = 0) -> None:
        """Add to a device's account."""
        old = self._of.get(device) or SamplesSent(device=device)
        self._of[device] = SamplesSent(
            device=device,
            sent=old.sent + sent,
            spared=old.spared + spared,
            bytes_sent=old.bytes_sent + bytes_sent,
            bytes_spared=old.bytes_spared + bytes_spared,
        )

    def entries(self) -> tuple[SamplesSent, ...]:
        """By device, those of which anything is known."""
        return tuple(self._of[device] for device in sorted(self._of))


def spared(listing: Listing, lacking: np.ndarray) -> np.ndarray:
    """(N,) bool: the samples of a list that need not be sent, each once."""
    return listing.distinct() & ~lacking


def packed_bytes(shard: Shard, mask: np.ndarray) -> int:
    """About what these samples take when they are packed, judged by some of them: packing all would take seconds of the
    processor for a number in the report."""
    chosen = np.flatnonzero(mask)
    some = chosen[:: max(1, -(-len(chosen) // _WEIGHED))]
    if not len(some):
        return 0
    return round(len(pack_shard(shard.images[some], shard.labels[some])) * len(chosen) / len(some))
