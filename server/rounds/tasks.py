"""From a plan to the tasks of a round. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edge_client.protocol.messages import BlobRef, NetworkSpec, Segment, Task
from server.config import TrainingConfig
from server.plan.problem import DevicePlan
from server.records import LinkShare, OwnPace

LEASE_S = 60.0
"""A board that nobody can reach for so long gets its owner's settings back; it goes on training."""


@dataclass(frozen=True)
class RoundFrame:
    """What all tasks of a round share. `round` counts within the strategy, `wire_round` within the run."""

    run: str
    round: int
    wire_round: int
    network: NetworkSpec
    model: BlobRef
    seed: int
    deadline_s: float


@dataclass(frozen=True)
class Share:
    """What is asked of one device in a round: distinct samples, and segments in their order. `upload_bits_per_s`, of
    the bits that a trial upload sent, is None where its link is its own: nothing is won by sending slower."""

    id: str
    samples: int
    segments: tuple[Segment, ...]
    tx_power_w: float | None = None
    upload_bits_per_s: float | None = None


def planned_share(plan: DevicePlan, *, settable: bool, link: LinkShare | None = None) -> Share:
    """As planned; no clock is asked of a board whose clock cannot be set, and no pace of an upload on a link of its
    own."""
    segments = tuple(Segment(freq_hz=s.freq_hz if settable else None, samples=s.samples) for s in plan.segments)
    return Share(plan.id, plan.executed_samples, segments, plan.tx_power_w, _pace(link))


def own_share(own: OwnPace, local_epochs: int, link: LinkShare | None = None) -> Share:
    """At the board's own clock."""
    segments = (Segment(freq_hz=None, samples=own.samples * local_epochs),)
    return Share(own.id, own.samples, segments, upload_bits_per_s=_pace(link))


def _pace(link: LinkShare | None) -> float | None:
    return None if link is None else link.bits_per_s


def make_task(
    frame: RoundFrame, training: TrainingConfig, share: Share, local_samples: int, shard: BlobRef | None
) -> Task:
    """A device's task."""
    return Task(
        run=frame.run,
        round=frame.wire_round,
        network=frame.network,
        model=frame.model,
        shard=shard,
        local_epochs=training.local_epochs,
        local_samples=local_samples,
        synth_samples=share.samples - local_samples,
        batch_size=training.batch_size,
        learning_rate=learning_rate(training, frame.round),
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        clip_norm=training.clip_norm,
        seed=task_seed(frame.seed, frame.round, share.id),
        segments=share.segments,
        tx_power_w=share.tx_power_w,
        upload_bits_per_s=share.upload_bits_per_s,
        chunk_bytes=frame.model.chunk_bytes,
        deadline_s=frame.deadline_s,
        lease_s=LEASE_S,
        prox=training.prox,
        evaluate=training.evaluate_on_devices,
    )


def learning_rate(training: TrainingConfig, round_: int) -> float:
    """Of a strategy's round, counted from 1: exponentially falling, so that the last rounds average out the noise."""
    return training.learning_rate * training.learning_rate_decay ** (round_ - 1)


def task_seed(seed: int, round_: int, device: str) -> int:
    """Of batches: by run seed, round and device, but not by strategy: strategies are compared like for like."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{round_}/{device}".encode()).digest()[:4], "big")
