"""Checks a plan against its problem from the numbers of both alone.

Nothing is shared with the solver but the formulae in `models`: what the solver believes is not asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from models import learning_curve, radio
from server.plan.check_clocks import TOLERANCE, at_clock, at_most, joules_per_sample
from server.plan.columnar import row_of
from server.plan.problem import Devices, Plan, Problem, Shares

_SHOWN = 10  # sentences of a kind; the rest is counted


def violations(problem: Problem, plan: Plan) -> list[str]:
    """Sentences, one for each broken constraint or wrong number; empty for a sound plan.

    Of one thing that is wrong with many devices the first ten are named. The problem must be a valid one.
    """
    if problem.devices.ids != plan.devices.ids:
        return ["the plan's devices are not the problem's"]
    found = _Found(problem.devices.ids)
    with np.errstate(all="ignore"):  # a broken plan may hold any number
        sane = _numbers(found, plan.devices)
        _bounds(found, problem, plan.devices, sane)
        _compute(found, problem, plan.devices, sane)
        _upload(found, problem, plan.devices, sane)
        _executed(found, problem, plan.devices, sane)
        _classes(found, problem, plan.devices)
        _medium(found, problem, plan.devices)
        if plan.devices.executed.uploads is not None:
            moved, inside = plan.devices.as_executed(), _Found(problem.devices.ids, found.sentences, "executed: ")
            sane = _numbers(inside, moved)
            _upload(inside, problem, moved, sane)
            _medium(inside, problem, moved)
        _error(found, problem, "samples", plan.devices.samples)
        _error(found, problem, "executed_samples", plan.devices.executed.samples.astype(float))
        _totals(found, plan)
        if plan.energy_basis != problem.energy_basis:
            found.say(f"energy_basis {plan.energy_basis!r} is not the problem's, {problem.energy_basis!r}")
    return found.sentences


@dataclass
class _Found:
    """The sentences so far."""

    ids: tuple[str, ...]
    sentences: list[str] = field(default_factory=list)
    part: str = ""  # of the plan

    def say(self, sentence: str) -> None:
        self.sentences.append(self.part + sentence)

    def where(self, wrong: np.ndarray, sentence: str | Callable[[int], str]) -> None:
        """One sentence, the same or made for its row, for each of the devices (I,) with which this is wrong."""
        rows = np.flatnonzero(wrong)
        for i in rows[:_SHOWN].tolist():
            told = sentence if isinstance(sentence, str) else sentence(i)
            self.sentences.append(f"{self.ids[i]}: {self.part}{told}")
        if len(rows) > _SHOWN:
            self.say(f"the same kind of thing with {len(rows) - _SHOWN} more devices")


def _numbers(found: _Found, shares: Shares) -> np.ndarray:
    """Where (I,) numbers can be calculated with."""
    sane = np.ones(len(shares), dtype=bool)
    for name in ("samples", "compute_s", "upload_s", "bandwidth_hz", "compute_j", "upload_j"):
        column = getattr(shares, name)
        sane &= np.isfinite(column) & (column >= 0)
    found.where(~sane, "a number is negative or not finite")
    return sane


def _bounds(found: _Found, problem: Problem, shares: Shares, sane: np.ndarray) -> None:
    """Samples within what a device has and can store, both times within the round."""
    local = problem.devices.local_samples
    most = local if problem.target_error is None else local + problem.devices.storage_samples
    executed = shares.executed
    for name, count in (("samples", shares.samples), ("executed_samples", executed.samples)):

        def sentence(i: int, name: str = name, count: np.ndarray = count) -> str:
            return f"{name} {count[i]} is not between {local[i]} and {most[i]}"

        found.where(sane & ~(at_most(local, count) & at_most(count, most)), sentence)
    sent_s = shares.as_executed().upload_s
    for name, seconds in (
        ("compute_s", shares.compute_s + shares.upload_s),
        ("executed_compute_s", executed.compute_s + sent_s),
    ):
        late = sane & ~at_most(seconds, problem.round_s)
        found.where(late, f"{name} and upload_s exceed round_s")


def _compute(found: _Found, problem: Problem, shares: Shares, sane: np.ndarray) -> None:
    """A clock that the device has, and its joules."""
    trained = problem.local_epochs * shares.samples
    tau = np.divide(shares.compute_s, trained, out=np.full(len(shares), np.nan), where=trained > 0)
    per_sample = joules_per_sample(problem, tau)
    joules = np.where(trained > 0, trained * per_sample, np.where(shares.compute_s == 0, 0.0, np.nan))
    missing = np.isnan(joules)
    found.where(sane & missing, lambda i: f"compute_s {shares.compute_s[i]} asks for a clock the device does not have")
    wrong = sane & ~missing & ~_same(joules, shares.compute_j)
    found.where(wrong, lambda i: f"compute_j {shares.compute_j[i]} should be {joules[i]}")


def _upload(found: _Found, problem: Problem, shares: Shares, sane: np.ndarray) -> None:
    """The radio's constraints and its joules."""
    devices, seconds, bits = problem.devices, shares.upload_s, problem.devices.upload_bits
    none = sane & ~(seconds > 0)
    found.where(none, "upload_s is not above 0")
    sane = sane & ~none
    overhead_w = devices.radios.overhead_w + (devices.power_idle_w if problem.energy_basis == "board" else 0.0)
    rate = devices.radios.link_bits_per_s
    lined, shared = devices.radios.of_kind("wired", "shared_link"), devices.radios.of_kind("shared_link")
    found.where(sane & lined & ~at_most(bits / rate, seconds), "upload_s is less than the link takes")
    sending_w = np.where(shared, np.nan_to_num(devices.radios.tx_power_w), 0.0)
    efficiency = devices.radios.amplifier_efficiency
    joules = radio.shared_joules(bits, seconds, rate, sending_w, efficiency, overhead_w)
    found.where(sane & lined & (shares.bandwidth_hz != 0), "bandwidth_hz is not 0, and the radio takes no band")
    told_w = np.where(shared & (sending_w > 0), sending_w, np.nan)
    same_w = (np.isnan(told_w) & np.isnan(shares.tx_power_w)) | _same(told_w, shares.tx_power_w)
    found.where(sane & lined & ~same_w, lambda i: f"tx_power_w {shares.tx_power_w[i]} should be {told_w[i]}")
    banded = sane & ~lined
    if banded.any():
        drawn_w = _band(found, problem, shares, banded) / efficiency
        joules = np.where(lined, joules, (drawn_w + overhead_w) * seconds)
    wrong = sane & ~np.isnan(joules) & ~_same(joules, shares.upload_j)
    found.where(wrong, lambda i: f"upload_j {shares.upload_j[i]} should be {joules[i]}")


def _band(found: _Found, problem: Problem, shares: Shares, banded: np.ndarray) -> np.ndarray:
    """Radiated watts (I,) of radios on a band, as they should be; NaN where nothing can be said."""
    devices, radios, band = problem.devices, problem.devices.radios, shares.bandwidth_hz
    assert problem.bandwidth_hz is not None
    granted = (band > 0) & at_most(band, problem.bandwidth_hz)
    found.where(banded & ~granted, lambda i: f"bandwidth_hz {band[i]} is not in (0, {problem.bandwidth_hz}]")
    asked = banded & granted
    noise = 1.0 / radios.gain_over_noise_hz_per_w
    needed_w = np.where(asked, radio.tx_power_w(devices.upload_bits, band, shares.upload_s, noise), np.nan)
    right_w = np.where(radios.of_kind("scheduled"), needed_w, radios.tx_power_w)
    limit_w = np.where(radios.of_kind("scheduled"), radios.tx_power_max_w, radios.tx_power_w)
    levelled = np.diff(devices.levels.start) > 0
    if levelled.any():  # right is the level that was told, or the one next to it
        rows, watts = row_of(devices.levels.start), devices.levels.watts
        distance = np.nan_to_num(np.abs(watts - shares.tx_power_w[rows]), nan=np.inf)
        least = np.zeros(len(shares))
        least[levelled] = np.minimum.reduceat(distance, devices.levels.start[:-1][levelled])
        nearest = distance == least[rows]
        right_w[rows[nearest]] = watts[nearest]
        limit_w[levelled] = right_w[levelled]
    found.where(
        asked & ~at_most(needed_w, limit_w), lambda i: f"the upload needs {needed_w[i]} W, more than {limit_w[i]} W"
    )
    wrong = asked & ~_same(shares.tx_power_w, right_w)
    found.where(wrong, lambda i: f"tx_power_w {shares.tx_power_w[i]} should be {right_w[i]}")
    return np.where(asked, right_w, np.nan)


def _executed(found: _Found, problem: Problem, shares: Shares, sane: np.ndarray) -> None:
    """The executable part: segments on clocks the device has, and their sums."""
    executed, segments = shares.executed, shares.executed.segments
    rows, count = row_of(segments.start), len(shares)
    trained = np.bincount(rows, weights=segments.samples, minlength=count)
    found.where(
        trained != executed.samples * problem.local_epochs,
        lambda i: f"segments train {trained[i]:.0f} samples, not executed_samples * local_epochs",
    )
    found.where(np.diff(segments.start) > 2, "more than two segments")
    clock_hz = np.nan_to_num(segments.freq_hz, nan=-1.0)  # a clock that is not known is one clock, too
    twice = (rows[1:] == rows[:-1]) & (clock_hz[1:] == clock_hz[:-1])
    found.where(np.bincount(rows[1:][twice], minlength=count) > 0, "two segments on one clock")
    found.where(np.bincount(rows[segments.samples < 1], minlength=count) > 0, "a segment without samples")
    tau, joules = at_clock(problem, rows, segments.freq_hz)
    wrong = np.isnan(tau)
    strange, strange_hz = np.zeros(count, dtype=bool), np.full(count, np.nan)
    strange[rows[wrong]], strange_hz[rows[wrong]] = True, segments.freq_hz[wrong]
    found.where(strange, lambda i: _no_clock(strange_hz[i]))
    for name, told, each in (
        ("executed_compute_s", executed.compute_s, tau),
        ("executed_compute_j", executed.compute_j, joules),
    ):
        right = np.bincount(rows, weights=segments.samples * np.nan_to_num(each), minlength=count)

        def sentence(i: int, name: str = name, told: np.ndarray = told, right: np.ndarray = right) -> str:
            return f"{name} {told[i]} should be {right[i]}"

        found.where(sane & ~_same(told, right), sentence)


def _no_clock(freq_hz: float) -> str:
    """Why a segment's clock cannot be."""
    if np.isnan(freq_hz):
        return "a segment's freq_hz is null, and the device's clocks are known; name one of them"
    return f"{freq_hz} Hz is no clock of the device"


def _classes(found: _Found, problem: Problem, shares: Shares) -> None:
    """The classes of the synthetic samples."""
    counts, classes = shares.synth_counts, problem.devices.local_counts.shape[1]
    if counts.shape[1] != classes:
        found.say(f"synth_counts have {counts.shape[1]} classes, local_counts {classes}")
    found.where(counts.min(axis=1, initial=0) < 0, "a number of synth_counts is negative")
    synthetic = shares.executed.samples - problem.devices.local_samples
    wrong = counts.sum(axis=1, dtype=np.int64) != synthetic
    found.where(wrong, "synth_counts do not sum to the synthetic samples")


def _medium(found: _Found, problem: Problem, shares: Shares) -> None:
    devices: Devices = problem.devices
    banded = devices.radios.of_kind("scheduled", "fixed_power")
    taken_hz = float(shares.bandwidth_hz[banded].sum())
    if banded.any() and not at_most(taken_hz, problem.bandwidth_hz or 0.0):
        found.say(f"the devices take {taken_hz} Hz, more than bandwidth_hz {problem.bandwidth_hz}")
    shared = devices.radios.of_kind("shared_link")
    rate = devices.radios.link_bits_per_s[shared]
    share = float((devices.upload_bits[shared] / (rate * shares.upload_s[shared])).sum())
    if not at_most(share, 1.0):
        found.say(f"the uploads take {share} of the shared link")


def _error(found: _Found, problem: Problem, name: str, samples: np.ndarray) -> None:
    if problem.target_error is None:
        return
    worth = learning_curve.effective_samples(problem.devices.local_samples, samples, problem.synthetic_value)
    curve = problem.learning_curve
    if problem.accuracy_model == "pooled":
        worth = worth.mean()
    mean = float(learning_curve.error(worth, curve.alpha, curve.beta, curve.gamma).mean())
    if not at_most(mean, problem.target_error):
        found.say(f"the mean error of {name}, {mean}, exceeds target_error {problem.target_error}")


def _totals(found: _Found, plan: Plan) -> None:
    shares = plan.devices
    for name, told, compute_j, upload_j in (
        ("energy_j", plan.energy_j, shares.compute_j, shares.upload_j),
        ("executed_energy_j", plan.executed_energy_j, shares.executed.compute_j, shares.as_executed().upload_j),
    ):
        right = float(compute_j.sum()) + float(upload_j.sum())
        if not _same(told, right):
            found.say(f"{name} {told} should be {right}")
    for name, joules, gap in (
        ("relative_gap", plan.energy_j, plan.relative_gap),
        ("executed_gap", plan.executed_energy_j, plan.executed_gap),
    ):
        right = (joules - plan.lower_bound_j) / max(abs(joules), abs(plan.lower_bound_j), 1e-300)
        if not abs(gap - right) <= TOLERANCE:
            found.say(f"{name} {gap} should be {right}")
        if not gap >= -TOLERANCE:
            found.say(f"{name} {gap} is negative: a plan cannot be below its lower bound")
    if not (plan.price_error_j >= 0 and plan.price_bandwidth_j_per_hz >= 0):
        found.say("a price is negative: the lower bound is none")


def _same(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    return np.asarray(np.abs(a - b) <= np.maximum(TOLERANCE * np.maximum(np.abs(a), np.abs(b)), 1e-300))
