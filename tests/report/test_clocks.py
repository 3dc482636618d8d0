"""Clocks as requested, accepted and verified: shares by hand."""

from __future__ import annotations

from server.report import tables
from server.report.clocks import ClockSummary, clocks_by_device
from server.report.values import RoundRow, StrategyRun, TaskRow, WindowRow


def strategy(name: str, **windows: tuple[WindowRow, ...]) -> StrategyRun:
    tasks = tuple(TaskRow(device, True, 1.0, 1.0, windows=of_device) for device, of_device in windows.items())
    return StrategyRun(name, (RoundRow(1, 0.5, 10.0, tasks),))


RUN = [
    strategy(
        "tfl",
        a=(
            WindowRow(1.0e9, 1.0e9, 1.5e9, 4.0, False, False),  # the kernel repeats the request
            WindowRow(2.4e9, 2.4e9, 2.4e9, 0.0, True, True, None, ("soft_limit",)),
        ),
        b=(WindowRow(1.0e9, 1.0e9, None, 0.0, None, None),),
        c=(),  # no update came
    ),
    strategy(
        "fimi",
        a=(
            WindowRow(1.5e9, 1.5e9, 1.529e9, 0.0, False, False),  # 1.9 % off
            WindowRow(1.5e9, 1.8e9, 1.8e9, 1.5, None, None, "not_accepted"),
            WindowRow(None, 2.4e9, 2.4e9, 0.0, False, False),  # no clock was asked for
        ),
    ),
]


def test_all_windows_of_a_device_by_hand() -> None:
    assert clocks_by_device(RUN) == {
        "a": ClockSummary(
            windows=5,
            windows_with_clock=4,
            accepted_share=0.75,
            verified_share=0.5,
            violation_s=5.5,
            throttled_windows=1,
            starved_share=0.25,
            troubles={"not_accepted": 1, "soft_limit": 1},
        ),
        "b": ClockSummary(
            windows=1,
            windows_with_clock=1,
            accepted_share=1.0,
            verified_share=None,
            violation_s=0.0,
            throttled_windows=None,
            starved_share=None,
        ),
    }


def test_the_table() -> None:
    rows = tables.clocks(clocks_by_device(RUN)).rows
    assert rows == (
        ("a", "5", "4", "75.0%", "50.0%", "5.5", "1", "25.0%", "not accepted 1, soft limit 1"),
        ("b", "1", "1", "100.0%", "unknown", "0.0", "–", "unknown", "none"),
    )
