"""The least that devices pay for training and for uploading at given prices, by golden sections: for `check_bound`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models import energy, learning_curve, radio
from server.plan.problem import Problem

_GOLDEN = (5**0.5 - 1) / 2
_STEPS = 64  # of a golden section: to 4e-14 of its range
_HALVINGS = 60
_LEAST_BAND = 1e-12  # of all the band

Costs = Callable[[np.ndarray], np.ndarray]


def lowest(cost: Costs, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least values (I,) of I convex functions on [low, high] (I,), and where they are; infinite values lie left."""
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [cost(at) for at in inner]
    where = low
    least = cost(low)
    for at, value in ((high, cost(high)), *zip(inner, values, strict=True)):
        where, least = np.where(value < least, at, where), np.fmin(value, least)
    for _ in range(_STEPS):
        left = values[0] < values[1]
        low, high = np.where(left, low, inner[0]), np.where(left, inner[1], high)
        at = np.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        value = cost(at)
        where, least = np.where(value < least, at, where), np.fmin(value, least)
        inner = [np.where(left, at, inner[1]), np.where(left, inner[0], at)]
        values = [np.where(left, value, values[1]), np.where(left, values[0], value)]
    return least, where


class Board:
    """Training (I,): the least joules in given seconds, with the error that it leaves at its price."""

    def __init__(self, problem: Problem, price_error_j: float):
        devices, laws = problem.devices, problem.devices.laws
        self._epochs, self._price_j, self._laws = problem.local_epochs, price_error_j, laws
        self._idle_w = devices.power_idle_w if problem.energy_basis == "added" else np.zeros(len(devices))
        self._tabled, self._hulls = np.flatnonzero(devices.tabled), _hulls(problem, self._idle_w)
        self._law = (laws.fixed_s_per_sample, laws.cycles_per_sample)
        self._quick_s, slow_s = (
            energy.seconds_per_sample(hz, *self._law) for hz in (laws.freq_max_hz, laws.freq_min_hz)
        )
        self._quick_s[self._tabled], slow_s[self._tabled] = self._hulls[0][:, 0], self._hulls[0][:, -1]
        _, self._cheapest_s = lowest(self._busy_j, self._quick_s, slow_s)
        self._local = devices.local_samples.astype(float)
        self._most = self._local + (0 if problem.target_error is None else devices.storage_samples)
        self.least_s = self._epochs * self._local * self._quick_s
        self._loss, _ = loss_of(problem)

    def least_j(self, seconds: np.ndarray) -> np.ndarray:
        """E_cmp + lambda/I*loss (I,) of the best samples in so many seconds."""
        most = np.clip(seconds / (self._epochs * self._quick_s), self._local, self._most)

        def cost(samples: np.ndarray) -> np.ndarray:
            trained = self._epochs * samples
            tau_s = np.clip(
                seconds / trained, self._quick_s, self._cheapest_s
            )  # with more time than that a device waits
            joules = np.where(trained > 0, trained * self._busy_j(tau_s), 0.0)
            return joules + (self._price_j * self._loss(samples) if self._price_j > 0 else 0.0)

        return lowest(cost, self._local, most)[0]

    def _busy_j(self, tau_s: np.ndarray) -> np.ndarray:
        joules = energy.joules_per_sample(tau_s, *self._law, self._laws.power_static_w, self._laws.kappa_w_per_hz3)
        joules = energy.above_idle(joules, tau_s, self._idle_w)
        joules[self._tabled] = energy.hull_energy(tau_s[self._tabled], *self._hulls)
        return joules


def _hulls(problem: Problem, idle_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and joules on the basis of the tables' falling hulls, each (M, K), padded with the last point."""
    opps, rows = problem.devices.opps, np.flatnonzero(problem.devices.tabled)
    parts = []
    for row in rows.tolist():
        own = slice(opps.start[row], opps.start[row + 1])
        tau_s = opps.s_per_sample[own]
        joules = energy.above_idle(opps.j_per_sample[own], tau_s, idle_w[row])
        kept = energy.falling_hull(tau_s, joules)
        parts.append((tau_s[kept], joules[kept]))
    width = max((len(tau_s) for tau_s, _ in parts), default=1)
    padded = [[np.pad(part, (0, width - len(part)), mode="edge") for part in pair] for pair in parts]
    tau_s, joules = np.array(padded).reshape(len(rows), 2, width).transpose(1, 0, 2)
    return tau_s, joules


def loss_of(problem: Problem) -> tuple[Costs, float]:
    """What the devices' samples (I,) add to the loss whose mean is priced, and what that mean may be.

    A pooled target asks for mean x >= x*; -err'(x*) times that is in units of error.
    """
    local, eta, curve = problem.devices.local_samples, problem.synthetic_value, problem.learning_curve
    if problem.target_error is None:
        return np.zeros_like, 0.0
    law = (curve.alpha, curve.beta)
    if problem.accuracy_model == "pooled":
        wanted = learning_curve.samples_for_error(problem.target_error, *law, curve.gamma)
        slope = float(learning_curve.error_slope(np.asarray(wanted), *law))
        return lambda samples: slope * learning_curve.effective_samples(local, samples, eta), slope * wanted

    def loss(samples: np.ndarray) -> np.ndarray:
        return learning_curve.error(learning_curve.effective_samples(local, samples, eta), *law, curve.gamma)

    return loss, problem.target_error


class Sender:
    """Uploading (I,): the least joules in given seconds, with the medium at its price."""

    def __init__(self, problem: Problem, price_medium_j: float):
        devices, radios = problem.devices, problem.devices.radios
        self._bits, self._radios, self._price_j = devices.upload_bits, radios, price_medium_j
        self._overhead_w = radios.overhead_w + (devices.power_idle_w if problem.energy_basis == "board" else 0.0)
        self._scheduled, self._shared = radios.of_kind("scheduled"), radios.of_kind("shared_link")
        self._banded = radios.of_kind("scheduled", "fixed_power")
        self._limit_w = np.where(self._scheduled, radios.tx_power_max_w, np.nan_to_num(radios.tx_power_w))
        self._noise = 1.0 / radios.gain_over_noise_hz_per_w
        self._band_hz = problem.bandwidth_hz or 0.0

    def least_s(self) -> np.ndarray:
        """Seconds of the quickest upload (I,)."""
        line_s = radio.wired_seconds(self._bits, self._radios.link_bits_per_s)
        return np.where(self._banded, self._full_s(np.full(len(self._bits), self._band_hz)), line_s)

    def least_j(self, seconds: np.ndarray) -> np.ndarray:
        """E_com + mu*use (I,) of an upload in so many seconds."""
        radios, watts = self._radios, np.where(self._shared, self._limit_w, 0.0)
        joules = radio.shared_joules(
            self._bits, seconds, radios.link_bits_per_s, watts, radios.amplifier_efficiency, self._overhead_w
        )
        share = np.where(self._shared, radio.link_share(self._bits, seconds, radios.link_bits_per_s), 0.0)
        return np.where(self._banded, self._banded_j(seconds), joules + self._price_j * share)

    def _banded_j(self, seconds: np.ndarray) -> np.ndarray:
        """On the least band at which the power suffices, or the best between that and all of it."""
        least_hz = self._least_band_hz(seconds)
        fixed_j = (
            self._limit_w / self._radios.amplifier_efficiency + self._overhead_w
        ) * seconds + self._price_j * least_hz

        def cost(log_hz: np.ndarray) -> np.ndarray:
            band_hz = np.exp(log_hz)
            law = (self._noise, self._radios.amplifier_efficiency, self._overhead_w)
            return radio.scheduled_joules(self._bits, band_hz, seconds, *law) + self._price_j * band_hz

        chosen_j, _ = lowest(cost, np.log(least_hz), np.full(len(seconds), np.log(self._band_hz)))
        return np.where(self._scheduled, chosen_j, fixed_j)

    def _least_band_hz(self, seconds: np.ndarray) -> np.ndarray:
        """Hertz (I,) at which all the power just carries the bits in time: the more of them, the sooner."""
        low, high = (np.full(len(seconds), np.log(hz)) for hz in (_LEAST_BAND * self._band_hz, self._band_hz))
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            late = self._full_s(np.exp(middle)) > seconds
            low, high = np.where(late, middle, low), np.where(late, high, middle)
        return np.exp(high)

    def _full_s(self, band_hz: np.ndarray) -> np.ndarray:
        return radio.seconds_at_power(self._bits, band_hz, self._limit_w, self._noise)
