"""Problems for tests: small ones written by hand, and random ones from a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models import learning_curve
from server.plan.problem import AnalyticCpu, Device, LearningCurve, OppTable, Problem, Radio

HYPERBOLA = LearningCurve(alpha=1.0, beta=1.0, gamma=0.0)  # err = 1/x


def table(*points: tuple[float, float, float], idle_w: float = 0.0) -> OppTable:
    """(hertz, seconds, joules) a sample for each point, ascending in hertz."""
    columns = np.array(points, dtype=float).T
    return OppTable(columns[0], columns[1], columns[2], idle_w)


def wired(rate: float = 100.0, overhead_w: float = 0.5) -> Radio:
    return Radio("wired", link_bits_per_s=rate, overhead_w=overhead_w)


def device(
    name: str = "a", local: tuple[int, ...] = (10, 0), storage: int = 100, bits: float = 100.0, **parts
) -> Device:
    """A wired device: 1 s at 1 GHz for 3 J or 2 s at 0.5 GHz for 2 J a sample; its upload takes 1 s and 0.5 J."""
    cpu = parts.get("cpu", table((5e8, 2.0, 2.0), (1e9, 1.0, 3.0)))
    return Device(name, np.array(local, dtype=np.int64), storage, bits, cpu, parts.get("radio", wired()))


def problem(*devices: Device, round_s: float = 1000.0, target: float | None = None, **fields) -> Problem:
    known = Problem.of(devices, round_s, 1, target, HYPERBOLA, 1.0)
    return replace(known, **fields)


KINDS = ("wired", "shared_link", "fixed_power", "scheduled", "mixed")


def random_problem(
    seed: int,
    count: int,
    kind: str = "wired",
    cpus: str = "mixed",
    accuracy: float | None = 0.5,
    basis: str = "added",
    epochs: int = 1,
) -> Problem:
    """A fleet with every bound in reach; `accuracy` is how far from the local error to that of all storage filled."""
    rng = np.random.default_rng(seed)
    devices = []
    for i in range(count):
        radio_kind = ("scheduled", "fixed_power", "wired")[i % 3] if kind == "mixed" else kind
        tabled = cpus == "tables" or (cpus == "mixed" and i % 2 == 0)
        counts = rng.multinomial(int(rng.integers(100, 400)), rng.dirichlet(np.full(10, 0.4)))
        devices.append(
            Device(
                id=f"d{i}",
                local_counts=counts,
                storage_samples=int(rng.integers(0, 400)),
                upload_bits=float(rng.uniform(3e7, 6e7)),
                cpu=_cpu(rng, tabled),
                radio=_radio(rng, radio_kind, count),
            )
        )
    curve = LearningCurve(2.0, 0.4, 0.05)
    target = None
    if accuracy is not None:
        local = np.array([d.local_samples for d in devices], dtype=float)
        room = np.array([d.storage_samples for d in devices], dtype=float)
        first, last = (float(learning_curve.error(local + 0.6 * part * room, 2.0, 0.4, 0.05).mean()) for part in (0, 1))
        target = first + accuracy * (last - first)
    return Problem.of(
        devices,
        round_s=60.0 * epochs,
        local_epochs=epochs,
        target_error=target,
        learning_curve=curve,
        synthetic_value=0.6,
        energy_basis="added" if basis == "added" else "board",
        bandwidth_hz=1e6 * count,
    )


def _cpu(rng: np.random.Generator, tabled: bool) -> AnalyticCpu | OppTable:
    idle, static = float(rng.uniform(1.5, 4.0)), float(rng.uniform(0.1, 1.0))
    fixed, cycles, kappa = float(rng.uniform(0, 0.01)), float(rng.uniform(3e7, 6e7)), float(rng.uniform(4e-28, 1e-27))
    law = AnalyticCpu(fixed, cycles, idle + static, idle, kappa, 4e8, 1.5e9)
    if not tabled:
        return law
    freq = np.linspace(4e8, 1.5e9, int(rng.integers(2, 8)))
    seconds = fixed + cycles / freq
    joules = seconds * (idle + static + kappa * freq**3) * rng.uniform(0.98, 1.02, len(freq))
    return OppTable(freq, seconds, joules, idle)


def _radio(rng: np.random.Generator, kind: str, count: int) -> Radio:
    gain, overhead = float(10 ** rng.uniform(8, 11)), float(rng.choice([0.0, 0.3]))
    if kind == "wired":
        return Radio("wired", link_bits_per_s=float(rng.uniform(5e6, 2e7)), overhead_w=overhead)
    if kind == "shared_link":
        rate = float(rng.uniform(1e7, 4e7)) * count
        return Radio("shared_link", link_bits_per_s=rate, overhead_w=overhead, tx_power_w=0.1, amplifier_efficiency=0.4)
    channel = {"gain_over_noise_hz_per_w": gain, "amplifier_efficiency": 0.4, "overhead_w": overhead}
    if kind == "fixed_power":
        return Radio("fixed_power", tx_power_w=0.1, **channel)
    return Radio("scheduled", tx_power_max_w=0.2, **channel)
