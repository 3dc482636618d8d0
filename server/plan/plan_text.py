"""Plans and sweeps in words and plain tables, for a terminal and above pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from server.plan.problem import DevicePlan, Plan, Problem
from server.plan.robust import InTime
from server.plan.sweep import Range, SweepPoint

LISTED = 20  # devices that a terminal shows
_DEVICE_HEADER = (
    "device", "local", "synthetic", "MHz: trained samples", "compute s", "upload s", "MHz band", "W sent", "J",
)  # fmt: skip


def number(value: float) -> str:
    """Four digits, the thousands apart: 0.0001234, 12.3, 1,235."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def share(value: float) -> str:
    """A gap as a percentage where that has digits, else as it is; 0 where it is rounding."""
    return f"{value:.3%}" if abs(value) >= 1e-5 else f"{value:.1e}" if abs(value) >= 1e-12 else "0"


def counted(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices:,} devices"


def describe(problem: Problem, plan: Plan) -> list[str]:
    """What the plan costs, what is proved of it, and at which prices: a few lines."""
    executed, local = plan.devices.executed.samples, problem.devices.local_samples
    synthetic = int((executed - local).sum())
    lines = [
        f"{plan.method}: {number(plan.energy_j)} J {plan.energy_basis} a round of at most {number(problem.round_s)} s, "
        f"{counted(len(plan.devices))}",
        f"lower bound {number(plan.lower_bound_j)} J, gap {share(plan.relative_gap)}, solved in {plan.seconds:.2f} s",
        f"executed in whole samples and batches: {number(plan.executed_energy_j)} J, gap {share(plan.executed_gap)}; "
        f"{int(executed.sum()):,} samples, {synthetic:,} of them synthetic",
    ]
    prices = []
    if problem.target_error is not None:
        prices.append(f"{number(plan.price_error_j / 100)} J for 0.01 of mean error less")
    if problem.devices.radios.of_kind("scheduled", "fixed_power").any():
        prices.append(f"{number(plan.price_bandwidth_j_per_hz * 1e6)} J saved by 1 MHz more")
    return lines + [f"prices: {', '.join(prices)}"] * bool(prices)


def in_time(found: InTime, asked: float) -> str:
    """How many devices a robust plan has in time, beside how many were asked for."""
    return (
        f"robust: {asked:.1%} of devices asked to be in time; {found.mean:.2%} were in {found.draws:,} rounds drawn "
        f"from their spreads, the least punctual device in {found.share.min():.1%}"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns side by side: the first flush left, the others right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *rest in cells:
        right = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *right]))
    return lines


def device_table(problem: Problem, plan: Plan) -> list[str]:
    """One line a device, as executed."""
    rows = zip(problem.devices.local_samples.tolist(), plan.devices.as_executed(), strict=True)
    return table(_DEVICE_HEADER, (_row(local, one) for local, one in rows))


def _row(local: int, one: DevicePlan) -> tuple[str, ...]:
    segments = ", ".join(f"{_mhz(segment.freq_hz)}: {segment.samples}" for segment in one.segments)
    return (
        one.id,
        str(local),
        str(one.executed_samples - local),
        segments,
        f"{one.executed_compute_s:.2f}",
        f"{one.upload_s:.2f}",
        number(one.bandwidth_hz / 1e6) if one.bandwidth_hz else "-",
        "-" if one.tx_power_w is None else number(one.tx_power_w),
        number(one.executed_compute_j + one.upload_j),
    )


def _mhz(freq_hz: float | None) -> str:
    return "-" if freq_hz is None else f"{freq_hz / 1e6:.0f}"


def sweep_header(over: Range) -> tuple[str, ...]:
    return (over.axis, "J", "bound J", "gap", "executed J", "upload J", "J/0.01 error", "J/MHz", "s")


def sweep_row(point: SweepPoint) -> tuple[str, ...]:
    """One line of a sweep's table; dashes where there is no plan."""
    if point.reason:
        return (f"{point.value:.6g}", *"-" * 8)
    return (
        f"{point.value:.6g}",
        number(point.energy_j),
        number(point.lower_bound_j),
        share(point.relative_gap),
        number(point.executed_energy_j),
        number(point.upload_j),
        number(point.price_error_j / 100),
        number(point.price_bandwidth_j_per_hz * 1e6),
        f"{point.seconds:.2f}",
    )
