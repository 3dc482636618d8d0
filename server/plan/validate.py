"""Refuses a problem whose values make no sense, naming the device, the field and what would be right.

Only values are looked at here; whether a sensible problem has a plan is for `feasible`.
"""

from __future__ import annotations

import math

import numpy as np

from server.errors import ConfigError
from server.plan.fleet import static_power_w
from server.plan.problem import AnalyticCpu, Device, OppTable, Problem, Radio

_POSITIVE = "a finite number above 0"
_NOT_NEGATIVE = "a finite number, 0 or more"


def validate(problem: Problem) -> None:
    """Raises `ConfigError` at the first value of the problem that cannot be meant."""
    _positive("round_s", problem.round_s)
    _require(problem.local_epochs >= 1, f"local_epochs: {problem.local_epochs} is not a whole number above 0")
    curve = problem.learning_curve
    _positive("learning_curve.alpha", curve.alpha)
    _positive("learning_curve.beta", curve.beta)
    _require(0 <= curve.gamma < 1, f"learning_curve.gamma: {curve.gamma} is not in [0, 1)")
    _require(0 < problem.synthetic_value <= 1, f"synthetic_value: {problem.synthetic_value} is not in (0, 1]")
    if problem.target_error is not None:
        _positive("target_error", problem.target_error)
    _require(bool(problem.devices), "devices: none; a plan needs at least one")
    classes = len(problem.devices[0].local_counts)
    seen: set[str] = set()
    for device in problem.devices:
        _require(device.id not in seen, f"devices: the id {device.id!r} appears twice")
        seen.add(device.id)
        _device(device, classes)
        _cpu(device, problem)
        _radio(device.id, device.radio)
    _medium(problem)


def _device(device: Device, classes: int) -> None:
    counts = np.asarray(device.local_counts)
    whole = np.issubdtype(counts.dtype, np.integer) and counts.ndim == 1
    _require(whole and len(counts) > 0, f"{device.id}: local_counts: not a list of whole numbers, one a class")
    _require(len(counts) == classes, f"{device.id}: local_counts: {len(counts)} classes, others have {classes}")
    _require(bool((counts >= 0).all()), f"{device.id}: local_counts: a count is below 0")
    _require(device.storage_samples >= 0, f"{device.id}: storage_samples: {device.storage_samples} is below 0")
    _positive(f"{device.id}: upload_bits", device.upload_bits)


def _cpu(device: Device, problem: Problem) -> None:
    if isinstance(device.cpu, AnalyticCpu):
        _curve(device.id, device.cpu, problem)
    else:
        _table(device.id, device.cpu, problem)


def _curve(name: str, cpu: AnalyticCpu, problem: Problem) -> None:
    _not_negative(f"{name}: cpu.fixed_s_per_sample", cpu.fixed_s_per_sample)
    _not_negative(f"{name}: cpu.power_idle_w", cpu.power_idle_w)
    for field in ("cycles_per_sample", "kappa_w_per_hz3", "freq_min_hz", "freq_max_hz"):
        _positive(f"{name}: cpu.{field}", getattr(cpu, field))
    _require(math.isfinite(cpu.power_static_w), f"{name}: cpu.power_static_w: {cpu.power_static_w} is not finite")
    _require(cpu.freq_min_hz <= cpu.freq_max_hz, f"{name}: cpu.freq_min_hz: above freq_max_hz")
    least_w = static_power_w(cpu, problem.energy_basis) + cpu.kappa_w_per_hz3 * cpu.freq_min_hz**3
    _require(
        least_w > 0,
        f"{name}: cpu: on the basis {problem.energy_basis!r} training at freq_min_hz draws {least_w:.4g} W, which is "
        "not above 0: fit power_static_w and power_idle_w again",
    )


def _table(name: str, table: OppTable, problem: Problem) -> None:
    lengths = {len(table.freq_hz), len(table.s_per_sample), len(table.j_per_sample)}
    _require(len(lengths) == 1 and lengths != {0}, f"{name}: opps: columns empty or of unequal length")
    _not_negative(f"{name}: opps.power_idle_w", table.power_idle_w)
    _require(bool((np.diff(table.freq_hz) > 0).all()), f"{name}: opps.freq_hz: not in ascending order")
    for freq, seconds, joules in zip(table.freq_hz, table.s_per_sample, table.j_per_sample, strict=True):
        _positive(f"{name}: opps.freq_hz", freq)
        _positive(f"{name}: opps.s_per_sample at {freq / 1e6:.5g} MHz", seconds)
        _positive(f"{name}: opps.j_per_sample at {freq / 1e6:.5g} MHz", joules)
        idle_j = table.power_idle_w * seconds if problem.energy_basis == "added" else 0.0
        _require(
            joules > idle_j,
            f"{name}: opps.j_per_sample at {freq / 1e6:.5g} MHz: {joules:.4g} J is not above the {idle_j:.4g} J that "
            'idling takes in that time: measure again, or plan on energy_basis "board"',
        )


def _radio(name: str, radio: Radio) -> None:
    _require(
        0 < radio.amplifier_efficiency <= 1,
        f"{name}: radio.amplifier_efficiency: {radio.amplifier_efficiency} is not in (0, 1]",
    )
    _not_negative(f"{name}: radio.overhead_w", radio.overhead_w)
    _require(
        radio.levels_w is None,
        f"{name}: radio.levels_w: discrete power levels are not planned yet; leave them out and state tx_power_max_w",
    )
    needed = {
        "scheduled": ("gain_over_noise_hz_per_w", "tx_power_max_w"),
        "fixed_power": ("gain_over_noise_hz_per_w", "tx_power_w"),
        "shared_link": ("link_bits_per_s",),
        "wired": ("link_bits_per_s",),
    }
    _require(radio.kind in needed, f"{name}: radio.kind: {radio.kind!r} is none of {', '.join(needed)}")
    for field in needed[radio.kind]:
        value = getattr(radio, field)
        _require(value is not None, f"{name}: radio.{field}: missing; a radio of kind {radio.kind!r} needs it")
        _positive(f"{name}: radio.{field}", value)
    if radio.kind == "shared_link" and radio.tx_power_w is not None:
        _not_negative(f"{name}: radio.tx_power_w", radio.tx_power_w)


def _medium(problem: Problem) -> None:
    kinds = {device.radio.kind for device in problem.devices}
    banded = kinds & {"scheduled", "fixed_power"}
    if banded:
        _require(problem.bandwidth_hz is not None, "bandwidth_hz: missing; radios on a shared band need it")
        _positive("bandwidth_hz", problem.bandwidth_hz or 0.0)
        _require(
            "shared_link" not in kinds,
            f"devices: radios of kind 'shared_link' beside {sorted(banded)}: one problem has one shared medium",
        )


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ConfigError(sentence)


def _positive(path: str, value: float) -> None:
    _require(math.isfinite(value) and value > 0, f"{path}: {value} is not {_POSITIVE}")


def _not_negative(path: str, value: float) -> None:
    _require(math.isfinite(value) and value >= 0, f"{path}: {value} is not {_NOT_NEGATIVE}")
