"""Measured progressions of accuracy as curves over rounds, and what they depend on. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np

from server.config import RunConfig
from server.plan.whole_training import RoundCurve


class Measured(Protocol):
    """One federation's accuracy after each round."""

    @property
    def fill_factor(self) -> float: ...
    @property
    def accuracy(self) -> tuple[float, ...]: ...


def curves(progressions: Sequence[Measured]) -> tuple[RoundCurve, ...]:
    """One curve a fill factor, over the rounds that all its seeds have."""
    found = []
    for factor in sorted({progression.fill_factor for progression in progressions}):
        own = [progression.accuracy for progression in progressions if progression.fill_factor == factor]
        rounds = min(map(len, own))
        found.append(RoundCurve(factor, np.array([accuracy[:rounds] for accuracy in own])))
    return tuple(found)


def terms(config: RunConfig) -> dict[str, object]:
    """What of a run the curves depend on besides data and generator: they hold for runs that agree in all of it."""
    data, training = config.data, msgspec.to_builtins(config.training)
    return {
        "network": config.network.name,
        "devices": config.n_devices,
        "partition": [data.partition, data.alpha, data.classes_per_device, data.local_samples],
        "public_fraction": data.public_fraction,
        "split_seed": data.split_seed,
        "training": {name: training[name] for name in sorted(training) if name not in ("rounds", "stop_at")},
    }
