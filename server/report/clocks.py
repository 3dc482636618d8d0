"""Whether the boards kept the clocks that the plans asked for, device by device. Pure.

Clients report of each training window the clock as requested, as the kernel accepted it, and as verified by other
means. A clock is hit within 2 %; what could not be read is neither hit nor missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from server import clocks
from server.report.metrics import share
from server.report.values import StrategyRun, WindowRow


@dataclass(frozen=True)
class ClockSummary:
    """One device's training windows over all strategies; field names are the keys of report.json."""

    windows: int
    windows_with_clock: int
    accepted_share: float | None
    verified_share: float | None
    violation_s: float
    throttled_windows: int | None
    starved_share: float | None
    troubles: dict[str, int] = field(default_factory=dict)
    """Windows by what went wrong with their clock: the client's findings and what held the clock down."""


def clocks_by_device(strategies: Iterable[StrategyRun]) -> dict[str, ClockSummary]:
    """All devices that sent an update, by name."""
    by_device: dict[str, list[WindowRow]] = {}
    for run in strategies:
        for row in run.rounds:
            for task in row.tasks:
                if task.windows:
                    by_device.setdefault(task.device, []).extend(task.windows)
    return {device: summarise(windows) for device, windows in sorted(by_device.items())}


def summarise(windows: list[WindowRow]) -> ClockSummary:
    """One device's windows in numbers."""
    throttled = [window.throttled for window in windows if window.throttled is not None]
    return ClockSummary(
        windows=len(windows),
        windows_with_clock=sum(window.requested_hz is not None for window in windows),
        accepted_share=share(hit(window.requested_hz, window.accepted_hz) for window in windows),
        verified_share=share(hit(window.requested_hz, window.verified_hz) for window in windows),
        violation_s=sum(window.violation_s for window in windows),
        throttled_windows=sum(throttled) if throttled else None,
        starved_share=share(window.starved for window in windows),
        troubles=dict(sorted(Counter(name for window in windows for name in _troubles(window)).items())),
    )


def _troubles(window: WindowRow) -> tuple[str, ...]:
    return (*([window.finding] if window.finding is not None else []), *window.limits)


def hit(requested_hz: float | None, seen_hz: float | None) -> bool | None:
    """Whether the clock that was asked for is the one that was seen; None where either is not there."""
    return None if requested_hz is None or seen_hz is None else clocks.hit(requested_hz, seen_hz)
