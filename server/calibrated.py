"""A board's own calibration in place of measurements: most of its clocks need not be timed again. Pure.

Before a round the board is timed at the ends of what would have been measured. Where it was calibrated with the very
network and batch size, seconds and watts must be there what the calibration says; with other work, the timing at the
highest clock scales it, and the lowest must come as foretold. Clocks in between then come from the calibration, moved
by what the ends were off by. One that does not fit, or is found out, is not used at all, and a sentence says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edge_client.protocol.messages import Calibration, Join, NetworkSpec, ProfileReport
from models.board_curve import Curve, curve_of, foretell
from server.clocks import ClockPoint, by_clock, hit
from server.records import CalibrationUse, ForetoldPoint

AGREES = 0.10
"""Relative: so far the board may be off its calibration, more only where that says that it is less certain."""

MOST_UNCERTAIN = 0.25
"""And never by more, whatever it says of itself."""


def ends(freqs_hz: Sequence[float]) -> tuple[float, ...]:
    """The clocks that are timed on a calibrated board: the highest, first, and the lowest."""
    return max(freqs_hz), min(freqs_hz)


def unfit(join: Join, freqs_hz: Sequence[float]) -> str | None:
    """Why a device's calibration cannot stand for measurements at `freqs_hz`; None where it can. `join` has one.

    Whether it is of this board, its client has seen to.
    """
    own, able = join.calibration, join.capabilities
    assert own is not None
    if own.runtime is not None and own.runtime not in able.runtimes:
        return f'it was measured with runtime "{own.runtime}"'
    if own.boundary is None or own.boundary != able.boundary:
        there = f"the meter's of the {able.boundary}" if able.boundary else "there is no meter"
        return f"its joules are of the {own.boundary or 'boundary that it does not tell'}, {there}"
    known = [point.freq_hz for point in own.points]
    if any(a >= b for a, b in pairwise(known)):
        return "its clocks are not ascending"
    low_hz, high_hz = min(known), max(known)
    if min(freqs_hz) < 0.98 * low_hz or max(freqs_hz) > 1.02 * high_hz:
        return (
            f"its clocks from {_mhz(low_hz)} to {_mhz(high_hz)} MHz do not reach those of this run, "
            f"{_mhz(min(freqs_hz))} to {_mhz(max(freqs_hz))} MHz"
        )
    return None


def judge(
    join: Join, report: ProfileReport, freqs_hz: Sequence[float], network: NetworkSpec, batch_size: int
) -> CalibrationUse:
    """What a fitting calibration brings, given a profile of the board at the ends of `freqs_hz`."""
    own = join.calibration
    assert own is not None
    points = by_clock(report.points, join.capabilities.opps_hz)
    if any(point.starved for point in points):
        return refused("the board was timed while the host was short of processor time")
    if len(points) < 2:
        return refused("the board ran at one clock, whatever it was asked for")
    idle_w = report.idle.idle_power_w
    low, high = _seen(points[0]), _seen(points[-1])
    if low is None or high is None or idle_w is None:
        return refused("there were no joules to hold it against")
    curve, same = curve_of(own.model, own.law, own.points), (own.network, own.batch_size) == (network.name, batch_size)
    with np.errstate(all="ignore"):  # what is no number is found below
        wrong = _wrong(own, curve, low, high, idle_w, same=same)
        if wrong is not None:
            return refused(wrong)
        wanted = _between(own, join.capabilities.opps_hz, freqs_hz, low.freq_hz, high.freq_hz)
        found = tuple(_moved(curve, freq_hz, low, high) for freq_hz in wanted)
    if not found:
        return refused("no clock lies between the two that the board ran at")
    if not all(0 < idle_w * point.s_per_sample < point.j_per_sample < np.inf for point in found):
        return refused("some of its watts are not above the idle floor that was measured")
    what = "" if same else f", measured with {own.network or 'another network'} and scaled"
    when = f" of {own.measured[:10]}" if own.measured else ""
    return CalibrationUse(
        why=f"{len(points)} clocks were measured, {len(found)} come from its calibration{when}{what}", points=found
    )


def refused(reason: str) -> CalibrationUse:
    """The calibration is not used."""
    return CalibrationUse(why=f"its calibration is not used, all clocks are measured: {reason}")


# ---- the check ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """A clock as it was measured now."""

    freq_hz: float
    s_per_sample: float
    power_w: float


def _seen(point: ClockPoint) -> _Seen | None:
    if point.j_per_sample is None or point.freq_hz is None:
        return None
    return _Seen(point.freq_hz, point.s_per_sample, point.j_per_sample / point.s_per_sample)


def _wrong(own: Calibration, curve: Curve, low: _Seen, high: _Seen, idle_w: float, *, same: bool) -> str | None:
    """How the board was found to differ from its calibration."""
    for seen in (high, low):
        if same:
            seconds, joules = curve(np.array([seen.freq_hz]))
            tau_s, said_w, spread = float(seconds[0]), float((joules / seconds)[0]), 0.0
        else:
            try:
                there = foretell(
                    curve, np.array([seen.freq_hz]), high.freq_hz, high.s_per_sample, high.power_w, own.idle_w or idle_w
                )
            except ValueError as error:
                return str(error)
            tau_s, said_w, spread = (float(value[0]) for value in (there.s_per_sample, there.power_w, there.spread))
        at = f"at {_mhz(seen.freq_hz)} MHz"
        # "not within", for what is no number is neither
        if not abs(seen.s_per_sample / np.float64(tau_s) - 1.0) <= _allowed(own.s_error, spread):
            return f"{at} a sample takes {seen.s_per_sample:.4g} s, by the calibration {tau_s:.4g} s"
        if not abs(seen.power_w / np.float64(said_w) - 1.0) <= _allowed(own.j_error, spread):
            return f"{at} the board draws {seen.power_w:.4g} W, by the calibration {said_w:.4g} W"
    return None


def _allowed(error: float, spread: float) -> float:
    """Twice what is stated to be uncertain, within bounds."""
    return min(max(AGREES, 2.0 * float(np.hypot(error, spread))), MOST_UNCERTAIN)


# ---- what it brings ----------------------------------------------------------------------------------------------


def _between(
    own: Calibration, opps_hz: Sequence[float], freqs_hz: Sequence[float], low_hz: float, high_hz: float
) -> list[float]:
    """The board's clocks between the two that it was verified to run at, as far as they were to be measured or are
    calibrated."""
    wanted = [*freqs_hz, *(point.freq_hz for point in own.points)]
    return [
        opp_hz
        for opp_hz in sorted(set(opps_hz))
        if low_hz < opp_hz < high_hz
        and not hit(low_hz, opp_hz)
        and not hit(high_hz, opp_hz)
        and any(hit(opp_hz, freq_hz) for freq_hz in wanted)
    ]


def _moved(curve: Curve, freq_hz: float, low: _Seen, high: _Seen) -> ForetoldPoint:
    """The calibration at a clock, times what the ends were off by, in a straight line over the clock in between."""
    tau_s, joules = curve(np.array([freq_hz, low.freq_hz, high.freq_hz]))
    power_w = joules / tau_s
    share = (freq_hz - low.freq_hz) / (high.freq_hz - low.freq_hz)
    seconds = tau_s[0] * np.interp(share, (0, 1), (low.s_per_sample / tau_s[1], high.s_per_sample / tau_s[2]))
    watts = power_w[0] * np.interp(share, (0, 1), (low.power_w / power_w[1], high.power_w / power_w[2]))
    return ForetoldPoint(freq_hz=freq_hz, s_per_sample=float(seconds), j_per_sample=float(seconds * watts))


def _mhz(freq_hz: float) -> str:
    return f"{freq_hz / 1e6:.0f}"
