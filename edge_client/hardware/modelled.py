"""Board power from a model instead of a meter: the last resort, and labelled so wherever its joules go.

u is the share of time that the processors were busy since the last look (proc/stat), f the mean of their clocks. Where
this very board was calibrated once, beside a meter, P = idle + u * n/cores * (P_calibrated(f) - idle): `cores` of its n
processors worked then. Else it is a board profile's P = idle + u * (full - idle) * V(f)^2 f / (V(f_max)^2 f_max), with
the profile's watts. Approximate models of that kind were measured to be off by tens of per cent and more on a board
that nobody calibrated, hence the uncertainty.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left

import numpy as np

from edge_client.hardware.cpufreq import online
from edge_client.hardware.interfaces import Boundary, MeterInfo, Missing
from edge_client.hardware.sysfs import SysFs
from firmware_profiles.calibrated import Calibration
from firmware_profiles.loader import load_profile, shipped
from firmware_profiles.schema import Profile
from models.board_curve import curve_of

UNCERTAINTY = 0.3
"""Of a profile's watts, relative, one sigma: a guess, as everything about it."""

OTHER_WORK = 0.1
"""The same of a calibrated board that does other work than it was calibrated with, in a room of another warmth."""

_PERIOD_S = 0.5  # proc/stat counts hundredths of a second
_CLOCKS = "sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq"


class Modelled:
    """Watts by what the processors say they did; `source` is the profile or the calibration behind them."""

    def __init__(self, fs: SysFs, source: Profile | Calibration, boundary: Boundary = "board") -> None:
        self.source = source
        calibrated = isinstance(source, Calibration)
        self.info = MeterInfo(
            "calibration" if calibrated else "modelled",
            boundary,
            _uncertainty(source) if isinstance(source, Calibration) else UNCERTAINTY,
            lag_s=_PERIOD_S,
            period_s=_PERIOD_S,
            source="modelled",
        )
        self._fs = fs
        self._clocks = [path for path in fs.glob(_CLOCKS) if online(fs, path.split("/")[-2])]
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
        freq_hz = sum(known) / len(known) * 1e3
        if isinstance(self.source, Calibration):
            return calibrated_w(self.source, share * _processors(text or ""), freq_hz)
        return model_w(self.source, share, freq_hz)


def _processors(stat: str) -> int:
    return len(re.findall(r"^cpu\d+ ", stat, re.MULTILINE)) or 1


def _uncertainty(calibration: Calibration) -> float:
    return math.hypot(OTHER_WORK, calibration.origin.meter_uncertainty or 0.0, calibration.fit.held_out.energy_mape)


def calibrated_w(calibration: Calibration, busy: float, freq_hz: float) -> float:
    """Watts of a calibrated board of whose processors `busy` (2.5: two and a half) work at `freq_hz`; beyond its clocks
    as at the nearest of them. The calibration's idle floor and number of cores must be known."""
    at_hz = min(max(freq_hz, calibration.opp[0].freq_hz), calibration.opp[-1].freq_hz)
    tau_s, joules = curve_of(calibration.fit.model, calibration.law, calibration.opp)(np.array([at_hz]))
    idle_w, cores = calibration.idle_w, calibration.cores
    assert idle_w is not None and cores is not None
    return idle_w + busy / cores * (float(joules[0] / tau_s[0]) - idle_w)


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


def find(
    fs: SysFs, board: str, profile: str | None = None, calibration: Calibration | None = None
) -> Modelled | Missing:
    """The model by this board's `calibration`, else by `profile` (a name or a path), else by the shipped one that fits
    the board; raises ConfigError."""
    if fs.trouble("proc/stat") or not fs.glob(_CLOCKS):
        unread = "load and clock cannot be read: /proc/stat and cpufreq's scaling_cur_freq are needed"
    else:
        unread = ""
    if calibration is not None:
        boundary = calibration.origin.boundary
        told = {"idle floor": calibration.idle_w, "boundary": boundary, "number of cores": calibration.cores}
        if lacking := [name for name, value in told.items() if value is None]:
            return Missing("modelled", f"its calibration does not tell the {lacking[0]}; fit it again with one")
        assert boundary is not None
        return Missing("modelled", unread) if unread else Modelled(fs, calibration, boundary)
    chosen = load_profile(profile) if profile is not None else fitting(board)
    if chosen is None:
        return Missing("modelled", f"no shipped profile is of a {board}; name one by `meter_profile` in client.toml")
    return Missing("modelled", unread) if unread else Modelled(fs, chosen)


def fitting(board: str) -> Profile | None:
    """The shipped profile of this board type."""
    for name in shipped():
        profile = load_profile(name)
        if same_board(profile.model, board):
            return profile
    return None


def same_board(a: str, b: str) -> bool:
    """Whether two names are of one board type; a board's revision does not matter."""
    return _without_revision(a) == _without_revision(b)


def _without_revision(model: str) -> str:
    return re.sub(r" Rev \d+(\.\d+)*$", "", model)
