"""What calibrations of clocks and of radios have in common: strict structs, the idle floor, where numbers come from."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused."""


class CalibratedIdle(Strict, frozen=True, kw_only=True):
    """The idle floor: from the idle windows beside what was measured, or as it was given."""

    power_w: Positive
    source: Literal["measured", "given"]
    uncertainty: NonNegative | None = None
    windows: Annotated[int, Meta(ge=0)] = 0


class Provenance(Strict, frozen=True, kw_only=True):
    """Where the numbers come from. `rejected` counts windows that were left out, by reason."""

    file: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    windows: AtLeastOne
    rejected: dict[str, int] = {}
    source: Literal["measured", "modelled"] | None = None
    boundary: Literal["board", "soc", "cpu_package", "wall"] | None = None
    meter: str | None = None
    meter_uncertainty: NonNegative | None = None
    board: str | None = None
    kernel: str | None = None
    started: str | None = None
    ended: str | None = None
