"""A problem as arrays over its devices: what the vectorised steps read. Row i is device i of the problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models import energy, learning_curve
from server.plan.problem import AnalyticCpu, Device, EnergyBasis, LearningCurve, Problem, Radio


@dataclass(frozen=True)
class Tables:
    """Falling hulls of measured tables: `rows` (M,) device indices; `tau_s`, `joules` (M, K) ascending in tau, padded
    by repeating the last (cheapest) point; `freq_hz` (M, K) the clocks behind the points. Joules on the basis."""

    rows: np.ndarray
    tau_s: np.ndarray
    joules: np.ndarray
    freq_hz: np.ndarray

    def kinks_w(self) -> np.ndarray:
        """The prices of a second (M, K-1) at which neighbours cost the same, falling from left to right; 0: padding."""
        step = np.diff(self.tau_s, axis=1)
        return np.divide(-np.diff(self.joules, axis=1), step, out=np.zeros_like(step), where=step > 0)


@dataclass(frozen=True)
class Curves:
    """Analytic processors: `rows` (M,) device indices and the law's coefficients (M,), power_static_w on the basis."""

    rows: np.ndarray
    fixed_s: np.ndarray
    cycles: np.ndarray
    power_static_w: np.ndarray
    kappa: np.ndarray
    freq_min_hz: np.ndarray
    freq_max_hz: np.ndarray


@dataclass(frozen=True)
class Links:
    """Radios: boolean masks (I,) by kind and coefficients (I,), NaN where a kind has no such field.

    `overhead_w` is on the basis; `power_w` the largest radiated power ("scheduled") or the fixed one.
    """

    scheduled: np.ndarray
    fixed_power: np.ndarray
    shared: np.ndarray
    wired: np.ndarray
    noise_w_per_hz: np.ndarray
    power_w: np.ndarray
    efficiency: np.ndarray
    overhead_w: np.ndarray
    rate_bits_per_s: np.ndarray

    @property
    def banded(self) -> np.ndarray:
        """Those that take bandwidth from the cell."""
        return self.scheduled | self.fixed_power


@dataclass(frozen=True)
class Fleet:
    """All of P1 as arrays (I,): `least` <= samples <= `most`; `tau_min_s` the fastest seconds per sample,
    `tau_idle_s` the cheapest ones: with more time than that a device waits after the work.

    `capacity` is what the shared medium holds: hertz for banded radios, 1 for a shared link, infinite for neither.
    `target_error` None asks for no accuracy.
    """

    ids: tuple[str, ...]
    local: np.ndarray
    most: np.ndarray
    upload_bits: np.ndarray
    tau_min_s: np.ndarray
    tau_idle_s: np.ndarray
    tables: Tables
    curves: Curves
    links: Links
    epochs: int
    round_s: float
    target_error: float | None
    curve: LearningCurve
    eta: float
    capacity: float
    pooled: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def worth(self, samples: np.ndarray) -> np.ndarray:
        """Effective samples x (I,) of every device when it trains `samples` (I,)."""
        return learning_curve.effective_samples(self.local, samples, self.eta)

    def error_at(self, worth: np.ndarray) -> np.ndarray:
        """err of effective samples, of any shape."""
        return learning_curve.error(worth, self.curve.alpha, self.curve.beta, self.curve.gamma)

    def mean_error(self, samples: np.ndarray) -> float:
        """The error that is held against the target: the devices' mean, or that of their mean data."""
        worth = self.worth(samples)
        return float(self.error_at(worth.mean()) if self.pooled else self.error_at(worth).mean())

    # What a price of error is paid for. Pooled, err(mean x) <= target is the same as mean x >= x*, which is linear and
    # falls apart over devices; scaled by -err'(x*), a unit of it is a unit of error near the target.

    @property
    def wanted_worth(self) -> float:
        """x* = the mean effective samples that a pooled target asks for; infinite at or below the curve's floor."""
        assert self.target_error is not None
        return learning_curve.samples_for_error(self.target_error, self.curve.alpha, self.curve.beta, self.curve.gamma)

    @property
    def worth_slope(self) -> float:
        """-err'(x*) > 0, the error that one more effective sample saves near a pooled target."""
        wanted = self.wanted_worth
        if not math.isfinite(wanted):
            return 1.0
        return float(-learning_curve.error_slope(np.asarray(wanted), self.curve.alpha, self.curve.beta))

    def losses(self, samples: np.ndarray) -> np.ndarray:
        """What each device (I,) adds to I times the loss that is priced; its mean must not exceed `allowed_loss`."""
        worth = self.worth(samples)
        return -self.worth_slope * worth if self.pooled else self.error_at(worth)

    @property
    def allowed_loss(self) -> float:
        assert self.target_error is not None
        return -self.worth_slope * self.wanted_worth if self.pooled else self.target_error


def build_fleet(problem: Problem) -> Fleet:
    """The arrays of a validated problem."""
    devices = problem.devices
    local = np.array([d.local_samples for d in devices], dtype=float)
    room = np.array([d.storage_samples for d in devices], dtype=float)
    most = local if problem.target_error is None else local + room
    tables = _tables(devices, problem.energy_basis)
    curves = _curves(devices, problem.energy_basis)
    tau_min = np.empty(len(devices))
    tau_min[tables.rows] = tables.tau_s[:, 0]
    tau_min[curves.rows] = energy.seconds_per_sample(curves.freq_max_hz, curves.fixed_s, curves.cycles)
    tau_idle = np.empty(len(devices))
    tau_idle[tables.rows] = tables.tau_s[:, -1]
    tau_idle[curves.rows] = energy.seconds_per_sample(_cheapest_freq(curves), curves.fixed_s, curves.cycles)
    links = _links(devices, problem.energy_basis)
    capacity = np.inf
    if links.banded.any():
        capacity = float(problem.bandwidth_hz or np.nan)
    elif links.shared.any():
        capacity = 1.0
    return Fleet(
        ids=tuple(d.id for d in devices),
        local=local,
        most=most,
        upload_bits=np.array([d.upload_bits for d in devices], dtype=float),
        tau_min_s=tau_min,
        tau_idle_s=tau_idle,
        tables=tables,
        curves=curves,
        links=links,
        epochs=problem.local_epochs,
        round_s=float(problem.round_s),
        target_error=problem.target_error,
        curve=problem.learning_curve,
        eta=float(problem.synthetic_value),
        capacity=capacity,
        pooled=problem.accuracy_model == "pooled",
    )


def idle_power_w(device: Device) -> float:
    """The board's idle floor in watts."""
    return device.cpu.power_idle_w


def overhead_w(device: Device, basis: EnergyBasis) -> float:
    """What the radio draws besides the transmitter, on the basis: with the idle floor for the whole board."""
    return device.radio.overhead_w + (idle_power_w(device) if basis == "board" else 0.0)


def table_on_basis(device: Device, basis: EnergyBasis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tau_s, joules, freq_hz) of the falling hull of a device's measured table, on the basis; each (K,)."""
    cpu = device.cpu
    assert not isinstance(cpu, AnalyticCpu)
    joules = cpu.j_per_sample
    if basis == "added":
        joules = energy.above_idle(joules, cpu.s_per_sample, np.full(len(joules), cpu.power_idle_w))
    keep = energy.falling_hull(cpu.s_per_sample, joules)
    return cpu.s_per_sample[keep], joules[keep], cpu.freq_hz[keep]


def static_power_w(cpu: AnalyticCpu, basis: EnergyBasis) -> float:
    """P_s of the analytic law on the basis."""
    return cpu.power_static_w - (cpu.power_idle_w if basis == "added" else 0.0)


def _tables(devices: tuple[Device, ...], basis: EnergyBasis) -> Tables:
    rows = [i for i, d in enumerate(devices) if not isinstance(d.cpu, AnalyticCpu)]
    hulls = [table_on_basis(devices[i], basis) for i in rows]
    width = max((len(hull[0]) for hull in hulls), default=1)
    columns = [np.array([np.pad(h[k], (0, width - len(h[k])), mode="edge") for h in hulls]) for k in range(3)]
    tau, joules, freq = (column.reshape(len(rows), width) for column in columns)
    return Tables(np.array(rows, dtype=np.int64), tau, joules, freq)


def _curves(devices: tuple[Device, ...], basis: EnergyBasis) -> Curves:
    found = [(i, d.cpu) for i, d in enumerate(devices) if isinstance(d.cpu, AnalyticCpu)]
    return Curves(
        rows=np.array([i for i, _ in found], dtype=np.int64),
        fixed_s=np.array([c.fixed_s_per_sample for _, c in found], dtype=float),
        cycles=np.array([c.cycles_per_sample for _, c in found], dtype=float),
        power_static_w=np.array([static_power_w(c, basis) for _, c in found], dtype=float),
        kappa=np.array([c.kappa_w_per_hz3 for _, c in found], dtype=float),
        freq_min_hz=np.array([c.freq_min_hz for _, c in found], dtype=float),
        freq_max_hz=np.array([c.freq_max_hz for _, c in found], dtype=float),
    )


def _cheapest_freq(curves: Curves) -> np.ndarray:
    law = (curves.fixed_s, curves.cycles, curves.power_static_w, curves.kappa)
    return energy.cheapest_freq(np.zeros(len(curves.rows)), *law, curves.freq_min_hz, curves.freq_max_hz)


def _links(devices: tuple[Device, ...], basis: EnergyBasis) -> Links:
    radios = [d.radio for d in devices]
    kind = np.array([r.kind for r in radios])
    noise = np.array(
        [np.nan if r.gain_over_noise_hz_per_w is None else 1.0 / r.gain_over_noise_hz_per_w for r in radios]
    )
    rate = np.array([np.nan if r.link_bits_per_s is None else r.link_bits_per_s for r in radios], dtype=float)
    return Links(
        scheduled=kind == "scheduled",
        fixed_power=kind == "fixed_power",
        shared=kind == "shared_link",
        wired=kind == "wired",
        noise_w_per_hz=noise,
        power_w=np.array([_power_w(r) for r in radios], dtype=float),
        efficiency=np.array([r.amplifier_efficiency for r in radios], dtype=float),
        overhead_w=np.array([overhead_w(d, basis) for d in devices], dtype=float),
        rate_bits_per_s=rate,
    )


def _power_w(radio: Radio) -> float:
    """The largest radiated power of a scheduled radio, the fixed one of the others (0 where none is stated)."""
    power = radio.tx_power_max_w if radio.kind == "scheduled" else radio.tx_power_w
    return 0.0 if power is None else power
