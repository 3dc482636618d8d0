"""Planning for devices that are not quite what is stated of them, so that a stated share of them is in time.

A device's seconds a sample are what is stated times exp(speed * z), its channel gain (of a link: its rate) what is
stated times exp(-gain * z'), z and z' standard normal and independent, drawn anew each round. The plan is made for
devices that are all z slow and z badly connected. How many are then in time is counted by drawing rounds: more than a
quantile would say, because a quick processor makes up for a bad channel. So z is sought that just gives the share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from models import radio
from server.errors import ConfigError
from server.plan.check_clocks import at_clock
from server.plan.columnar import each, row_of
from server.plan.diagnosis import NoPlanError
from server.plan.problem import Plan, Problem
from server.plan.validate import validate

_LEAST_SHARE = 0.5  # below the median nothing is cautious
_NUMBERS = 4_000_000  # drawn at most, over all devices and rounds
_AT_ONCE = 1_000_000
_MOST_DRAWS = 10_000
_HALVINGS = 6  # of the z between the median and where each device for itself would keep the share
_SEEKING, _COUNTING = 1, 0  # seeds: the share is not told from the rounds that z was chosen by
_ROUNDING = 1e-9  # relative, of the round


@dataclass(frozen=True)
class InTime:
    """Of `draws` rounds: the share (I,) in which each device was in time."""

    draws: int
    share: np.ndarray

    @property
    def mean(self) -> float:
        """The share of all devices and rounds."""
        return float(self.share.mean())

    @property
    def uncertainty(self) -> float:
        """Two standard deviations of `mean`."""
        return 2.0 * math.sqrt(float((self.share * (1 - self.share)).sum()) / self.draws) / len(self.share)


@dataclass(frozen=True)
class Robust:
    """A plan, the problem that it was made for, and how many devices it has in time."""

    planned: Problem
    plan: Plan
    in_time: InTime


def plan_for_share(stated: Problem, share: float, solve: Callable[[Problem], Plan]) -> Robust:
    """The plan of least joules found that has a share of the devices, in [0.5, 1), in time; `solve` plans.

    Raises `ConfigError` for another share and where no device states a spread, `NoPlanError` where no plan keeps it.
    """
    if not _LEAST_SHARE <= share < 1:
        raise ConfigError(f"robust: a share of {share} is not in [{_LEAST_SHARE}, 1)")
    validate(stated)
    spreads = stated.devices.spreads
    if not (spreads.speed.any() or spreads.gain.any()):
        raise ConfigError("devices[].spread: nobody states one; without any, every device is what is stated of it")
    low, high = 0.0, most_cautious_z(share)
    best: tuple[Problem, Plan] | None = None
    for _ in range(_HALVINGS):
        z = 0.5 * (low + high)
        try:
            planned = cautious(stated, z)
            plan = solve(planned)
        except NoPlanError:  # nor is there one for devices that are slower yet
            high = z
            continue
        seen = in_time(stated, planned, plan, _SEEKING)
        if seen.mean - seen.uncertainty >= share:
            best, high = (planned, plan), z
        else:
            low = z
    if best is None:
        planned = cautious(stated, high)
        try:
            best = planned, solve(planned)
        except NoPlanError as error:
            slow = f"with every device {high:.3g} of its spreads slow and badly connected: {error}"
            raise NoPlanError(slow, error.constraint, error.devices, error.nearest) from None
    return Robust(*best, in_time(stated, *best, _COUNTING))


def most_cautious_z(share: float) -> float:
    """The z with which each device for itself keeps the share: both of its two draws are better with that chance."""
    return NormalDist().inv_cdf(math.sqrt(share))


def cautious(stated: Problem, z: float) -> Problem:
    """The problem with all devices z of their spreads slower and worse connected than stated, and without spreads.

    Joules a sample grow with the seconds: a slow board draws what it drew, only longer.
    """
    devices = stated.devices
    slower, worse = np.exp(z * devices.spreads.speed), np.exp(z * devices.spreads.gain)
    laws, opps, radios, per_point = devices.laws, devices.opps, devices.radios, slower[row_of(devices.opps.start)]
    return replace(
        stated,
        devices=replace(
            devices,
            laws=replace(
                laws,
                fixed_s_per_sample=laws.fixed_s_per_sample * slower,
                cycles_per_sample=laws.cycles_per_sample * slower,
            ),
            opps=replace(opps, s_per_sample=opps.s_per_sample * per_point, j_per_sample=opps.j_per_sample * per_point),
            radios=replace(
                radios,
                gain_over_noise_hz_per_w=radios.gain_over_noise_hz_per_w / worse,
                link_bits_per_s=radios.link_bits_per_s / worse,
            ),
            spreads=each(devices.spreads, np.zeros_like),
        ),
    )


def in_time(stated: Problem, planned: Problem, plan: Plan, seed: int = 0, draws: int | None = None) -> InTime:
    """Rounds drawn from the spreads of `stated`, in which devices execute a plan that was made for `planned`.

    Clocks, band, power and turns on a shared link are as planned; how long they take is drawn.
    """
    count, spreads = len(plan.devices), stated.devices.spreads
    draws = draws or max(10, min(_MOST_DRAWS, _NUMBERS // count))
    rng = np.random.default_rng(seed)
    compute_s, times = _compute_s(stated, plan), np.zeros(count)
    at_once = max(1, _AT_ONCE // count)
    for first in range(0, draws, at_once):
        shape = (min(at_once, draws - first), count)
        slower = np.exp(spreads.speed * rng.standard_normal(shape))
        worse = np.exp(spreads.gain * rng.standard_normal(shape))
        busy_s = compute_s * slower + _upload_s(stated, planned, plan, worse)
        times += (busy_s <= stated.round_s * (1 + _ROUNDING)).sum(axis=0)
    return InTime(draws, times / draws)


def _compute_s(problem: Problem, plan: Plan) -> np.ndarray:
    """Seconds (I,) that the executed segments take on the problem's devices."""
    segments = plan.devices.executed.segments
    rows = row_of(segments.start)
    tau, _ = at_clock(problem, rows, segments.freq_hz)
    return np.bincount(rows, weights=segments.samples * tau, minlength=len(plan.devices))


def _upload_s(stated: Problem, planned: Problem, plan: Plan, worse: np.ndarray) -> np.ndarray:
    """Seconds (K, I) of uploads with gains and rates that are `worse` (K, I) times less than stated."""
    radios, shares, bits = stated.devices.radios, plan.devices.as_executed(), stated.devices.upload_bits
    seconds = worse * bits / radios.link_bits_per_s  # of a link of one's own
    shared = radios.of_kind("shared_link")
    rate = planned.devices.radios.link_bits_per_s[shared]
    seconds[:, shared] /= radio.link_share(bits[shared], shares.upload_s[shared], rate)
    banded = radios.of_kind("scheduled", "fixed_power")
    noise = worse[:, banded] / radios.gain_over_noise_hz_per_w[banded]
    band, watts = shares.bandwidth_hz[banded], shares.tx_power_w[banded]
    seconds[:, banded] = radio.seconds_at_power(bits[banded], band, watts, noise)
    return seconds
