"""Fitting err(x) = alpha * x**(-beta) + gamma to measured errors, then eta to errors with synthetic samples. Pure.

x counts samples of a device, eta the worth of a synthetic one: x = real + eta * synthetic (`models.learning_curve`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from models.learning_curve import error
from server.errors import DataError
from server.learning.intervals import redrawn, scatter

MIN_AMOUNTS = 4
MIN_SEEDS = 2
MIN_R2 = 0.8
BETA_RANGE = (0.02, 3.0)
LEAST_ETA = 0.01


@dataclass(frozen=True)
class Point:
    """One measured run: trained on `real` and `synthetic` samples, `error` in 0..1 on held-out real ones."""

    real: int
    synthetic: int
    seed: int
    error: float

    @property
    def cell(self) -> tuple[int, int, int]:
        """Which run it is, whatever came of it."""
        return self.real, self.synthetic, self.seed


@dataclass(frozen=True)
class Fit:
    """The coefficients; `intervals` hold 95 % of the refits (low, high; see `intervals`); errors are fractions of 1.

    `eta_free` is the best eta without the bound 0 < eta <= 1: above 1, a synthetic sample did more than a real one.
    """

    alpha: float
    beta: float
    gamma: float
    eta: float
    eta_free: float
    r2: float
    rms_error: float
    rms_error_mixtures: float
    intervals: dict[str, tuple[float, float]]


def fit_all(points: list[Point], *, seed: int = 0, refits: int = 200, test_images: int | None = None) -> Fit:
    """Fit the curve to the runs on real samples alone, eta to the rest; raises DataError where it does not fit.

    `test_images`, on which all runs were tested, widens the intervals by what other images would have shown.
    """
    real = [p for p in points if p.synthetic == 0]
    mixed = [p for p in points if p.synthetic > 0]
    if why := too_few(amounts={p.real for p in real}, seeds={p.seed for p in points}):
        raise DataError(why)
    curve = fit_curve(real)
    eta_free = fit_eta(mixed, curve)
    if eta_free < LEAST_ETA:
        raise DataError(
            f"synthetic samples are worth nothing here (eta {eta_free:.3f}): train the generator longer, or plan "
            "without synthesis"
        )
    eta = min(eta_free, 1.0)
    runs = real + mixed
    law = np.array([error(np.array(p.real + eta_free * p.synthetic), *curve) for p in runs])
    found = scatter(runs, law, n_fitted=4)
    rng = np.random.default_rng(seed)
    spread: dict[str, list[float]] = {name: [] for name in ("alpha", "beta", "gamma", "eta", "eta_free")}
    for _ in range(refits):
        fresh = redrawn(runs, law, found, rng, test_images=test_images)
        again = fit_curve(fresh[: len(real)], checked=False)
        free = fit_eta(fresh[len(real) :], again)
        for name, value in zip(spread, (*again, min(free, 1.0), free), strict=True):
            spread[name].append(value)
    errors = np.array([p.error for p in real])
    misses = law[: len(real)] - errors
    mixed_misses = [error(np.array(p.real + eta * p.synthetic), *curve) - p.error for p in mixed]
    return Fit(
        *curve,
        eta=eta,
        eta_free=eta_free,
        r2=float(1.0 - (misses**2).sum() / ((errors - errors.mean()) ** 2).sum()),
        rms_error=float(np.sqrt((misses**2).mean())),
        rms_error_mixtures=float(np.sqrt(np.mean(np.square(mixed_misses)))),
        intervals={
            name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
            for name, values in spread.items()
            if values
        },
    )


def too_few(*, amounts: Collection[int], seeds: Collection[int]) -> str | None:
    """Why no curve with intervals comes of so many different amounts and seeds; None where one may."""
    if len(amounts) < MIN_AMOUNTS:
        return f"{len(amounts)} amounts of data are too few to fit a curve; measure {MIN_AMOUNTS} or more"
    if len(seeds) < MIN_SEEDS:
        return f"one seed does not tell how far off the worth of a sample may be; measure {MIN_SEEDS} or more"
    return None


def fit_curve(points: list[Point], *, checked: bool = True) -> tuple[float, float, float]:
    """(alpha, beta, gamma) by least squares on the error, alpha > 0, beta in BETA_RANGE, 0 <= gamma < 1."""
    x = np.array([p.real for p in points], dtype=float)
    y = np.array([p.error for p in points])
    scale = float(np.exp(np.log(x).mean()))  # the fit sees x / scale: alpha then is an error, of the size of the rest
    highest = float(y.min())
    best = None
    for start in (0.2, 0.5, 1.0):
        found = least_squares(
            lambda v: v[0] * (x / scale) ** -v[1] + v[2] - y,
            x0=(max(float(np.median(y)) - 0.5 * highest, 1e-3), start, 0.5 * highest),
            bounds=((1e-9, BETA_RANGE[0], 0.0), (10.0, BETA_RANGE[1], max(highest, 1e-6))),
        )
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    level, beta, gamma = (float(v) for v in best.x)
    if checked:
        total = float(((y - y.mean()) ** 2).sum())
        r2 = 1.0 - 2.0 * float(best.cost) / total if total > 0 else 0.0
        by_amount = [float(y[x == amount].mean()) for amount in np.unique(x)]
        if by_amount[-1] >= by_amount[0] or r2 < MIN_R2:
            raise DataError(
                f"the errors do not fall with the data as a learning curve does (from {by_amount[0]:.3f} to "
                f"{by_amount[-1]:.3f}, R2 {r2:.2f}): train for more steps, or measure a wider range of amounts"
            )
    return level * scale**beta, beta, gamma


def fit_eta(points: list[Point], curve: tuple[float, float, float]) -> float:
    """The worth of a synthetic sample in real ones, 0 or more, by least squares on the error with the curve fixed."""
    if not points:
        raise DataError("no run with synthetic samples was measured: eta cannot be fitted")
    real, synthetic, y = (
        np.array(v, dtype=float) for v in zip(*((p.real, p.synthetic, p.error) for p in points), strict=True)
    )
    found = [
        least_squares(lambda v: error(real + v[0] * synthetic, *curve) - y, x0=(start,), bounds=((0.0,), (10.0,)))
        for start in (0.1, 0.5, 1.0)
    ]
    return float(min(found, key=lambda f: f.cost).x[0])
