"""The same optimum from an independent solver: planner's P1 in disciplined convex form, solved by Clarabel.

Units are scaled (hundreds of samples, megahertz, megabits, the round as the unit of time): conic solvers need numbers
near 1.
"""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
import pytest

from models import energy
from server.plan.problem import AnalyticCpu, Problem
from server.plan.solve import solve
from tests.plan.builders import random_problem

TERMS = 30


def conic_optimum(asked: Problem) -> float:
    n, eta, curve, T = asked.local_epochs, asked.synthetic_value, asked.learning_curve, asked.round_s
    board = asked.energy_basis == "board"
    joules, limits, errors, bands, shares = [], [], [], [], []
    for device in asked.devices:
        local = device.local_samples / 100
        D, t, s = cp.Variable(nonneg=True), cp.Variable(nonneg=True), cp.Variable(nonneg=True)  # hundreds; rounds
        most = local + (device.storage_samples / 100 if asked.target_error is not None else 0.0)
        limits += [local <= D, most >= D, t + s <= 1]
        cpu, nD = device.cpu, 100 * n * D / T  # rounds per (second a sample)
        idle = cpu.power_idle_w
        if isinstance(cpu, AnalyticCpu):
            f = cpu.freq_max_hz
            u = t - cpu.fixed_s_per_sample * nD  # the part that scales with the clock
            w = cpu.cycles_per_sample / f
            square, cube = cp.Variable(), cp.Variable()  # (w nD)**3/u**2 and (w nD)**4/u**3
            power = cpu.kappa_w_per_hz3 * f**3
            limits += [
                cp.PowCone3D(square, u, w * nD, 1 / 3),
                cp.PowCone3D(cube, u, w * nD, 1 / 4),
                w * nD <= u,
                u <= w * f / cpu.freq_min_hz * nD,
            ]
            static = cpu.power_static_w - (0 if board else idle)
            # kappa f**3 ((w nD)**3/u**2 + a (nD) (w nD)**3/u**3), the clock being f w nD/u
            ratio = cpu.fixed_s_per_sample / w
            joules.append(T * (static * t + power * (square + ratio * cube)))
        else:
            table_j = cpu.j_per_sample if board else cpu.j_per_sample - idle * cpu.s_per_sample
            keep = energy.falling_hull(cpu.s_per_sample, table_j)
            tau, e = cpu.s_per_sample[keep], table_j[keep]
            slopes = np.append(np.diff(e) / np.diff(tau), 0.0)
            pieces = [T * ((ek - m * tk) * nD + m * t) for tk, ek, m in zip(tau, e, slopes, strict=True)]
            joules.append(cp.maximum(*pieces) if len(pieces) > 1 else pieces[0])
            limits.append(t >= tau[0] * nD)
        radio = device.radio
        overhead = radio.overhead_w + (idle if board else 0.0)
        joules.append(overhead * T * s)
        if radio.kind == "wired":
            limits.append(s >= device.upload_bits / radio.link_bits_per_s / T)
        elif radio.kind == "shared_link":
            alone = device.upload_bits / radio.link_bits_per_s / T
            limits.append(s >= alone)
            shares.append(alone * cp.inv_pos(s))
            joules.append(radio.tx_power_w / radio.amplifier_efficiency * alone * T)
        else:
            b = cp.Variable(nonneg=True)  # MHz
            bands.append(b)
            c = 1e6 / radio.gain_over_noise_hz_per_w  # W/MHz
            L = device.upload_bits * math.log(2) / 1e6 / T
            limit = radio.tx_power_max_w if radio.kind == "scheduled" else radio.tx_power_w
            xi, q = cp.Variable(), cp.Variable()
            limits += [xi >= L * cp.inv_pos(s), cp.ExpCone(xi, b, q), q - b <= limit / c]
            if radio.kind == "fixed_power":
                joules.append(limit / radio.amplifier_efficiency * T * s)
            else:
                y = cp.Variable()
                limits.append(y <= cp.log(b) + cp.log(s))
                terms = [cp.exp((1 - k) * y + k * math.log(L) - math.lgamma(k + 1)) for k in range(2, TERMS)]
                joules.append(c * T / radio.amplifier_efficiency * (L + cp.sum(cp.hstack(terms))))
        if asked.target_error is not None:
            worth = local + eta * (D - local)
            errors.append(curve.alpha * 100**-curve.beta * cp.power(worth, -curve.beta) + curve.gamma)
    if bands:
        limits.append(cp.sum(cp.hstack(bands)) <= asked.bandwidth_hz / 1e6)
    if shares:
        limits.append(sum(shares) <= 1)
    if errors:
        limits.append(sum(errors) / len(errors) <= asked.target_error)
    scale = 10.0 * len(asked.devices)
    posed = cp.Problem(cp.Minimize(sum(joules) / scale), limits)
    posed.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert posed.status == "optimal"
    return float(posed.value) * scale


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("seed", "kind", "cpus", "accuracy", "basis", "epochs"),
    [
        (1, "wired", "tables", 0.5, "added", 1),
        (2, "wired", "curves", 0.8, "board", 2),
        (3, "scheduled", "tables", 0.5, "added", 2),
        (4, "scheduled", "curves", 0.7, "board", 1),
        (5, "scheduled", "mixed", None, "added", 1),
        (6, "fixed_power", "mixed", 0.5, "added", 1),
        (7, "shared_link", "mixed", 0.6, "board", 1),
        (8, "mixed", "mixed", 0.8, "added", 1),
    ],
)
def test_agrees_with_a_conic_solver(seed, kind, cpus, accuracy, basis, epochs):
    asked = random_problem(seed, 3, kind, cpus, accuracy, basis, epochs)
    assert solve(asked).energy_j == pytest.approx(conic_optimum(asked), rel=1e-5)
