"""A problem as arrays over its devices: what the vectorised steps read. Row i is device i of the problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models import learning_curve
from server.plan.devices import LearningCurve


def kink_prices_w(tau_s: np.ndarray, joules: np.ndarray) -> np.ndarray:
    """The prices of a second (K-1, M) at which neighbours of hulls (K, M) cost the same; 0 where they are the same."""
    step = np.diff(tau_s, axis=0)
    return np.where(step > 0, -np.diff(joules, axis=0) / np.where(step > 0, step, 1.0), 0.0)


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
        return kink_prices_w(self.tau_s.T, self.joules.T).T


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

    `overhead_w` is on the basis; `power_w` the largest radiated power ("scheduled") or the fixed one. `levels_w` (I, L)
    are the only powers of scheduled radios with discrete levels, ascending, padded with NaN: a row of NaN for a radio
    that can be set to any power, None where no radio has levels.
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
    levels_w: np.ndarray | None = None

    @property
    def leveled(self) -> np.ndarray:
        """Those whose power is one of several levels."""
        if self.levels_w is None:
            return np.zeros(len(self.scheduled), dtype=bool)
        return self.scheduled & np.isfinite(self.levels_w).any(axis=1)

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
        return len(self.local)

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
        return self.loss_of(self.worth(samples))

    def loss_of(self, worth: np.ndarray) -> np.ndarray:
        """The loss of any number of devices, of any shape, with `worth` effective samples each."""
        return -self.worth_slope * worth if self.pooled else self.error_at(worth)

    @property
    def allowed_loss(self) -> float:
        assert self.target_error is not None
        return -self.worth_slope * self.wanted_worth if self.pooled else self.target_error
