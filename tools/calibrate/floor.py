"""The idle floor from idle windows, with what their repeats tell of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from firmware_profiles.provenance import CalibratedIdle


class Window(Protocol):
    """What is needed of an idle window."""

    @property
    def duration_s(self) -> float:
        """Its length."""

    @property
    def energy_j(self) -> float:
        """Joules of the whole board in it."""


def idle_floor(rows: Sequence[Window], given_w: float | None) -> CalibratedIdle | None:
    """The floor as it was given, else of the idle windows `rows`; None where there is neither."""
    if given_w is not None:
        return CalibratedIdle(power_w=given_w, source="given")
    if not rows:
        return None
    watts = np.array([row.energy_j / row.duration_s for row in rows])
    spread = float(watts.std(ddof=1) / watts.mean() / np.sqrt(len(watts))) if len(watts) > 1 else None
    power_w = sum(row.energy_j for row in rows) / sum(row.duration_s for row in rows)
    return CalibratedIdle(power_w=power_w, source="measured", uncertainty=spread, windows=len(rows))
