"""Board power from a board profile instead of a meter: the last resort, and labelled so wherever its joules go.

P = idle + u * (full - idle) * V(f)^2 f / (V(f_max)^2 f_max): u is the share of time that the processors were busy since
the last look (proc/stat), f the mean of their clocks, idle and full the profile's watts. Approximate models of this
kind were measured to be off by tens of per cent and more on a board that nobody calibrated, hence the uncertainty.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from edge_client.hardware.interfaces import MeterInfo, Missing
from edge_client.hardware.sysfs import SysFs
from firmware_profiles.loader import load_profile, shipped
from firmware_profiles.schema import Profile

UNCERTAINTY = 0.3
"""Relative, one sigma: a guess, as everything about it."""

_PERIOD_S = 0.5  # proc/stat counts hundredths of a second


class Modelled:
    """A profile, and what the processors say they did."""

    info = MeterInfo("modelled", "board", UNCERTAINTY, lag_s=_PERIOD_S, period_s=_PERIOD_S, source="modelled")

    def __init__(self, fs: SysFs, profile: Profile) -> None:
        self.profile = profile
        self._fs = fs
        self._clocks = fs.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq")
        self._last: tuple[int, int] | None = None

    def read_power_w(self) -> float | None:
        """See PowerMeter; None at the first look, and where either clock or load cannot be read."""
        text, clocks = self._fs.read("proc/stat"), [self._fs.number(path) for path in self._clocks]
        known = [khz for khz in clocks if khz is not None]
        now = busy_and_all(text) if text else None
        last, self._last = self._last, now
        if now is None or last is None or now[1] <= last[1] or not known or len(known) < len(clocks):
            return None
        share = min(max((now[0] - last[0]) / (now[1] - last[1]), 0.0), 1.0)
        return model_w(self.profile, share, sum(known) / len(known) * 1e3)


def busy_and_all(stat: str) -> tuple[int, int] | None:
    """Ticks in which processors worked, and all ticks, since boot, from proc/stat (proc(5)); None where it says none.

    The first line: cpu user nice system idle iowait irq softirq steal ...; guest time is counted in user already.
    """
    match = re.match(r"cpu((?:\s+\d+){8})", stat)
    if match is None:
        return None
    ticks = [int(word) for word in match[1].split()]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def model_w(profile: Profile, share: float, freq_hz: float) -> float:
    """Watts of a board whose processors are busy for `share` of the time at `freq_hz`."""
    top_hz, top_v = profile.cpu.opps_hz.value[-1], profile.cpu.voltage_v.value[-1]
    dynamic = _voltage_v(profile, freq_hz) ** 2 * freq_hz / (top_v**2 * top_hz)
    idle_w = profile.power.idle_w.value
    return idle_w + share * (profile.power.full_w.value - idle_w) * dynamic


def _voltage_v(profile: Profile, freq_hz: float) -> float:
    """Core voltage at a clock: the profile's table, linear in between, held beyond."""
    opps, volts = profile.cpu.opps_hz.value, profile.cpu.voltage_v.value
    if freq_hz <= opps[0]:
        return volts[0]
    if freq_hz >= opps[-1]:
        return volts[-1]
    i = bisect_left(opps, freq_hz)
    return volts[i - 1] + (volts[i] - volts[i - 1]) * (freq_hz - opps[i - 1]) / (opps[i] - opps[i - 1])


def find(fs: SysFs, board: str, profile: str | None = None) -> Modelled | Missing:
    """The model of `profile` (a name or a path), else of the shipped one that fits the board; raises ConfigError."""
    chosen = load_profile(profile) if profile is not None else fitting(board)
    if chosen is None:
        return Missing("modelled", f"no shipped profile is of a {board}; name one by `meter_profile` in client.toml")
    model = Modelled(fs, chosen)
    if fs.trouble("proc/stat") or not fs.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq"):
        return Missing(
            "modelled", "load and clock cannot be read: /proc/stat and cpufreq's scaling_cur_freq are needed"
        )
    return model


def fitting(board: str) -> Profile | None:
    """The shipped profile of this board type; a board's revision does not matter."""
    for name in shipped():
        profile = load_profile(name)
        if _without_revision(profile.model) == _without_revision(board):
            return profile
    return None


def _without_revision(model: str) -> str:
    return re.sub(r" Rev \d+(\.\d+)*$", "", model)
