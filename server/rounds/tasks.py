"""From a plan to the tasks of a round. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edge_client.protocol.messages import BlobRef, NetworkSpec, Segment, Task
from server.config import TrainingConfig
from server.plan.problem import DevicePlan

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


def make_task(
    frame: RoundFrame, training: TrainingConfig, plan: DevicePlan, local_samples: int, shard: BlobRef | None
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
        synth_samples=plan.executed_samples - local_samples,
        batch_size=training.batch_size,
        learning_rate=learning_rate(training, frame.round),
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        clip_norm=training.clip_norm,
        seed=task_seed(frame.seed, frame.round, plan.id),
        segments=tuple(Segment(freq_hz=s.freq_hz, samples=s.samples) for s in plan.segments),
        tx_power_w=plan.tx_power_w,
        upload_bits_per_s=None,
        chunk_bytes=frame.model.chunk_bytes,
        deadline_s=frame.deadline_s,
        lease_s=LEASE_S,
    )


def learning_rate(training: TrainingConfig, round_: int) -> float:
    """Of a strategy's round, counted from 1: exponentially falling, so that the last rounds average out the noise."""
    return training.learning_rate * training.learning_rate_decay ** (round_ - 1)


def task_seed(seed: int, round_: int, device: str) -> int:
    """Of batches: by run seed, round and device, but not by strategy: strategies are compared like for like."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{round_}/{device}".encode()).digest()[:4], "big")
