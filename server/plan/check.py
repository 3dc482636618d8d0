"""Checks a plan against its problem from the numbers of both alone.

Nothing is shared with the solver but the formulae in `models`: what the solver believes is not asked.
"""

from __future__ import annotations

import math

import numpy as np

from models import energy, learning_curve, radio
from server.plan.problem import AnalyticCpu, Device, DevicePlan, OppTable, Plan, Problem

TOLERANCE = 1e-9  # relative, for every constraint and every recomputed number


def violations(problem: Problem, plan: Plan) -> list[str]:
    """Sentences, one for each broken constraint or wrong number; empty for a sound plan."""
    if [d.id for d in problem.devices] != [d.id for d in plan.devices]:
        return ["the plan's devices are not the problem's"]
    found: list[str] = []
    for device, share in zip(problem.devices, plan.devices, strict=True):
        found += [f"{device.id}: {what}" for what in _device(problem, device, share)]
    found += _medium(problem, plan)
    found += _error(problem, "samples", [share.samples for share in plan.devices])
    found += _error(problem, "executed_samples", [float(share.executed_samples) for share in plan.devices])
    found += _totals(plan)
    return found


def _device(problem: Problem, device: Device, share: DevicePlan) -> list[str]:
    found = []
    numbers = (share.samples, share.compute_s, share.upload_s, share.bandwidth_hz, share.compute_j, share.upload_j)
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        return ["a number is negative or not finite"]
    local = device.local_samples
    most = local if problem.target_error is None else local + device.storage_samples
    for name, count in (("samples", share.samples), ("executed_samples", share.executed_samples)):
        if not _at_most(local, count) or not _at_most(count, most):
            found.append(f"{name} {count} is not between {local} and {most}")
    for name, seconds in (("compute_s", share.compute_s), ("executed_compute_s", share.executed_compute_s)):
        if not _at_most(seconds + share.upload_s, problem.round_s):
            found.append(f"{name} and upload_s exceed round_s")
    trained = problem.local_epochs * share.samples
    joules = _joules(problem, device, trained, share.compute_s)
    if joules is None:
        found.append(f"compute_s {share.compute_s} asks for a clock the device does not have")
    elif not _same(joules, share.compute_j):
        found.append(f"compute_j {share.compute_j} should be {joules}")
    return found + _upload(problem, device, share) + _executed(problem, device, share)


def _joules(problem: Problem, device: Device, trained: float, compute_s: float) -> float | None:
    """E_cmp of `trained` samples in compute_s, on the basis; None outside the device's clocks."""
    if trained == 0:
        return 0.0 if compute_s == 0 else None
    cpu, tau = device.cpu, compute_s / trained
    quick, slow = _seconds_range(cpu)
    if not _at_most(quick, tau) or not _at_most(tau, slow):
        return None
    tau = min(max(tau, quick), slow)
    if isinstance(cpu, AnalyticCpu):
        law = (cpu.fixed_s_per_sample, cpu.cycles_per_sample, cpu.power_static_w, cpu.kappa_w_per_hz3)
        joules = energy.joules_per_sample(tau, *law)
        return trained * (energy.above_idle(joules, tau, cpu.power_idle_w) if _added(problem) else joules)
    on_basis = _table_j(problem, device)
    keep = energy.falling_hull(cpu.s_per_sample, on_basis)
    hull = (cpu.s_per_sample[keep][None, :], on_basis[keep][None, :])
    return float(trained * energy.hull_energy(np.array([tau]), *hull)[0])


def _seconds_range(cpu: AnalyticCpu | OppTable) -> tuple[float, float]:
    """The fewest and the most seconds a sample takes on a device."""
    if isinstance(cpu, AnalyticCpu):
        law = (cpu.fixed_s_per_sample, cpu.cycles_per_sample)
        return energy.seconds_per_sample(cpu.freq_max_hz, *law), energy.seconds_per_sample(cpu.freq_min_hz, *law)
    return float(cpu.s_per_sample.min()), float(cpu.s_per_sample.max())


def _added(problem: Problem) -> bool:
    return problem.energy_basis == "added"


def _table_j(problem: Problem, device: Device) -> np.ndarray:
    """Joules a sample of a measured table, on the basis."""
    cpu = device.cpu
    assert not isinstance(cpu, AnalyticCpu)
    joules = cpu.j_per_sample
    return joules - cpu.power_idle_w * cpu.s_per_sample if _added(problem) else joules


def _upload(problem: Problem, device: Device, share: DevicePlan) -> list[str]:
    """The radio's constraints and its joules."""
    link, bits, seconds, band = device.radio, device.upload_bits, share.upload_s, share.bandwidth_hz
    overhead_w = link.overhead_w + (0.0 if _added(problem) else device.cpu.power_idle_w)
    if seconds <= 0:
        return ["upload_s is not above 0"]
    found: list[str] = []
    if link.kind in ("wired", "shared_link"):
        assert link.link_bits_per_s is not None
        rate = link.link_bits_per_s
        if not _at_most(bits / rate, seconds):
            found.append("upload_s is less than the link takes")
        sending_w = (link.tx_power_w or 0.0) if link.kind == "shared_link" else 0.0
        joules = radio.shared_joules(bits, seconds, rate, sending_w, link.amplifier_efficiency, overhead_w)
    else:
        assert link.gain_over_noise_hz_per_w is not None and problem.bandwidth_hz is not None
        if not 0 < band <= problem.bandwidth_hz * (1 + TOLERANCE):
            return [f"bandwidth_hz {band} is not in (0, {problem.bandwidth_hz}]"]
        noise = 1.0 / link.gain_over_noise_hz_per_w
        power = float(radio.tx_power_w(bits, band, seconds, noise))
        limit = link.tx_power_max_w if link.kind == "scheduled" else link.tx_power_w
        assert limit is not None
        if not _at_most(power, limit):
            found.append(f"the upload needs {power} W, more than {limit} W")
        drawn_w = (power if link.kind == "scheduled" else limit) / link.amplifier_efficiency
        joules = (drawn_w + overhead_w) * seconds
        told = power if link.kind == "scheduled" else limit
        if share.tx_power_w is None or not _same(share.tx_power_w, told):
            found.append(f"tx_power_w {share.tx_power_w} should be {told}")
    if not _same(joules, share.upload_j):
        found.append(f"upload_j {share.upload_j} should be {joules}")
    return found


def _executed(problem: Problem, device: Device, share: DevicePlan) -> list[str]:
    """The executable part: segments on clocks the device has, their sums, the classes of the synthetic samples."""
    found = []
    trained = sum(segment.samples for segment in share.segments)
    if trained != share.executed_samples * problem.local_epochs:
        found.append(f"segments train {trained} samples, not executed_samples * local_epochs")
    if len(share.segments) > 2:
        found.append("more than two segments")
    seconds = joules = 0.0
    for segment in share.segments:
        cost = _at_clock(problem, device, segment.freq_hz)
        if cost is None:
            found.append(f"{segment.freq_hz} Hz is no clock of the device")
            continue
        seconds += segment.samples * cost[0]
        joules += segment.samples * cost[1]
    if not _same(seconds, share.executed_compute_s):
        found.append(f"executed_compute_s {share.executed_compute_s} should be {seconds}")
    if not _same(joules, share.executed_compute_j):
        found.append(f"executed_compute_j {share.executed_compute_j} should be {joules}")
    wrong_length = len(share.synth_counts) != len(device.local_counts)
    if wrong_length or any(count < 0 for count in share.synth_counts):
        found.append("synth_counts are negative or not one a class")
    if sum(share.synth_counts) != share.executed_samples - device.local_samples:
        found.append("synth_counts do not sum to the synthetic samples")
    return found


def _at_clock(problem: Problem, device: Device, freq_hz: float) -> tuple[float, float] | None:
    """(seconds, joules on the basis) of a sample at a clock; None where the device has no such clock."""
    cpu = device.cpu
    if isinstance(cpu, AnalyticCpu):
        if not _at_most(cpu.freq_min_hz, freq_hz) or not _at_most(freq_hz, cpu.freq_max_hz):
            return None
        tau = energy.seconds_per_sample(freq_hz, cpu.fixed_s_per_sample, cpu.cycles_per_sample)
        power = energy.busy_power_w(freq_hz, cpu.power_static_w, cpu.kappa_w_per_hz3)
        return tau, tau * (power - (cpu.power_idle_w if _added(problem) else 0.0))
    points = np.flatnonzero(cpu.freq_hz == freq_hz)
    if len(points) == 0:
        return None
    return float(cpu.s_per_sample[points[0]]), float(_table_j(problem, device)[points[0]])


def _medium(problem: Problem, plan: Plan) -> list[str]:
    banded = shared = 0.0
    for device, share in zip(problem.devices, plan.devices, strict=True):
        if device.radio.kind in ("scheduled", "fixed_power"):
            banded += share.bandwidth_hz
        if device.radio.kind == "shared_link" and share.upload_s > 0:
            assert device.radio.link_bits_per_s is not None
            shared += device.upload_bits / (device.radio.link_bits_per_s * share.upload_s)
    found = []
    if problem.bandwidth_hz is not None and not _at_most(banded, problem.bandwidth_hz):
        found.append(f"the devices take {banded} Hz, more than bandwidth_hz {problem.bandwidth_hz}")
    if not _at_most(shared, 1.0):
        found.append(f"the uploads take {shared} of the shared link")
    return found


def _error(problem: Problem, name: str, samples: list[float]) -> list[str]:
    if problem.target_error is None:
        return []
    local = np.array([device.local_samples for device in problem.devices], dtype=float)
    worth = learning_curve.effective_samples(local, np.array(samples), problem.synthetic_value)
    curve = problem.learning_curve
    if problem.accuracy_model == "pooled":
        worth = worth.mean()
    mean = float(learning_curve.error(worth, curve.alpha, curve.beta, curve.gamma).mean())
    if _at_most(mean, problem.target_error):
        return []
    return [f"the mean error of {name}, {mean}, exceeds target_error {problem.target_error}"]


def _totals(plan: Plan) -> list[str]:
    upload_j = sum(share.upload_j for share in plan.devices)
    energy_j = sum(share.compute_j for share in plan.devices) + upload_j
    executed_j = sum(share.executed_compute_j for share in plan.devices) + upload_j
    found = []
    for name, told, right in (
        ("energy_j", plan.energy_j, energy_j),
        ("executed_energy_j", plan.executed_energy_j, executed_j),
    ):
        if not _same(told, right):
            found.append(f"{name} {told} should be {right}")
    for name, joules, gap in (
        ("relative_gap", plan.energy_j, plan.relative_gap),
        ("executed_gap", plan.executed_energy_j, plan.executed_gap),
    ):
        right = (joules - plan.lower_bound_j) / max(abs(joules), abs(plan.lower_bound_j))
        if abs(gap - right) > TOLERANCE:
            found.append(f"{name} {gap} should be {right}")
        if gap < -TOLERANCE:
            found.append(f"{name} {gap} is negative: a plan cannot be below its lower bound")
    if plan.price_error_j < 0 or plan.price_bandwidth_j_per_hz < 0:
        found.append("a price is negative: the lower bound is none")
    return found


def _at_most(value: float, limit: float) -> bool:
    return bool(value <= limit * (1 + TOLERANCE))


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-300)
