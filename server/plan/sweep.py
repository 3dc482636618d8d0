"""What a round costs as one of its terms is varied: the frontiers of energy over error and of energy over latency."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import msgspec
import numpy as np

from server.errors import ConfigError
from server.plan.diagnosis import NoPlanError
from server.plan.problem import Plan, Problem

Axis = Literal["target-error", "round-s"]
AXES: tuple[Axis, ...] = get_args(Axis)
_MOST = 1_000


@dataclass(frozen=True)
class Range:
    """Which term is varied, and its values (N,), ascending."""

    axis: Axis
    values: np.ndarray

    @property
    def field(self) -> str:
        """The term's name in `Problem`."""
        return self.axis.replace("-", "_")


@dataclass(frozen=True)
class SweepPoint:
    """The totals of the plan at one value; NaN, and the reason, where there is no plan."""

    value: float
    energy_j: float = np.nan
    lower_bound_j: float = np.nan
    relative_gap: float = np.nan
    executed_energy_j: float = np.nan
    upload_j: float = np.nan
    price_error_j: float = np.nan
    price_bandwidth_j_per_hz: float = np.nan
    seconds: float = np.nan
    reason: str = ""


def encode_sweep(over: Range, points: list[SweepPoint]) -> bytes:
    """A sweep as JSON: the axis and its points, null for what a value without a plan does not have."""
    encoder = msgspec.json.Encoder(enc_hook=lambda number: number.item())  # numpy's scalars
    lines = map(encoder.encode, map(asdict, points))
    return b'{\n "axis": "%s",\n "points": [\n  %s\n ]\n}\n' % (over.axis.encode(), b",\n  ".join(lines))


def parse_range(text: str) -> Range:
    """ "target-error=LO:HI:N" or "round-s=LO:HI:N"; raises `ConfigError` with what would be right."""
    form = f"--sweep: {text!r} is not AXIS=LO:HI:N with AXIS one of {', '.join(AXES)}"
    name, _, numbers = text.partition("=")
    axis = next((axis for axis in AXES if axis == name), None)
    parts = numbers.split(":")
    if axis is None or len(parts) != 3:
        raise ConfigError(form)
    try:
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except ValueError:
        raise ConfigError(form) from None
    if not (0 < low < high < np.inf and 2 <= count <= _MOST):
        raise ConfigError(f"--sweep: {numbers!r} is not LO:HI:N with 0 < LO < HI and N from 2 to {_MOST}")
    return Range(axis, np.linspace(low, high, count))


def sweep(problem: Problem, over: Range, solve: Callable[[Problem], Plan]) -> Iterator[SweepPoint]:
    """The plan at each value of the range, one after the other."""
    for value in over.values.tolist():
        try:
            plan = solve(replace(problem, **{over.field: value}))
        except NoPlanError as error:
            yield SweepPoint(value, reason=str(error))
            continue
        yield SweepPoint(
            value=value,
            energy_j=plan.energy_j,
            lower_bound_j=plan.lower_bound_j,
            relative_gap=plan.relative_gap,
            executed_energy_j=plan.executed_energy_j,
            upload_j=float(plan.devices.upload_j.sum()),
            price_error_j=plan.price_error_j,
            price_bandwidth_j_per_hz=plan.price_bandwidth_j_per_hz,
            seconds=plan.seconds,
        )
