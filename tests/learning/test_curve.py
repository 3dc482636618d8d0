from __future__ import annotations

import numpy as np
import pytest

from server.errors import DataError
from server.learning.curve import Point, fit_all, fit_curve, fit_eta
from server.learning.intervals import scatter

CURVE = (2.0, 0.5, 0.1)
AMOUNTS = (25, 100, 400, 1600)


def law(x: float) -> float:
    return CURVE[0] / x ** CURVE[1] + CURVE[2]


def points(noise: float = 0.0, eta: float = 0.5, seeds: int = 4) -> list[Point]:
    rng = np.random.default_rng(0)
    cells = [(n, 0) for n in AMOUNTS] + [(100, 100), (100, 600), (400, 1000)]
    return [
        Point(real, synthetic, seed, law(real + eta * synthetic) + noise * rng.normal())
        for seed in range(seeds)
        for real, synthetic in cells
    ]


def test_the_law_by_hand_is_found_again() -> None:
    # 2 / sqrt(25) + 0.1 = 0.5, 2 / sqrt(100) + 0.1 = 0.3, ...
    exact = [Point(25, 0, 0, 0.5), Point(100, 0, 0, 0.3), Point(400, 0, 0, 0.2), Point(1600, 0, 0, 0.15)]
    assert fit_curve(exact) == pytest.approx(CURVE, rel=1e-3)
    # 100 real and 600 synthetic at half their worth are 400 real ones.
    assert fit_eta([Point(100, 600, 0, 0.2)], CURVE) == pytest.approx(0.5, rel=1e-3)


def test_noise_ends_up_in_the_intervals() -> None:
    fit = fit_all(points(noise=0.01), refits=60)
    for name, value in {"alpha": 2.0, "beta": 0.5, "gamma": 0.1, "eta": 0.5}.items():
        low, high = fit.intervals[name]
        assert low < high
        assert low - 0.3 * (high - low) <= value <= high + 0.3 * (high - low)
    assert fit.r2 > 0.9
    assert fit.rms_error == pytest.approx(0.01, rel=0.5)


def test_the_same_points_give_the_same_fit() -> None:
    assert fit_all(points(noise=0.01), refits=10) == fit_all(points(noise=0.01), refits=10)


def test_eta_above_one_is_bounded_and_told() -> None:
    fit = fit_all(points(eta=1.4), refits=5)
    assert fit.eta == 1.0
    assert fit.eta_free == pytest.approx(1.4, rel=0.01)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([Point(n, 0, s, 0.5) for n in AMOUNTS for s in (0, 1)], "do not fall with the data"),
        ([Point(n, 0, 0, 0.2 + 1e-4 * n) for n in AMOUNTS], "do not fall with the data"),
        ([Point(n, 0, s, law(n) + (0.3 if s else -0.1)) for n in AMOUNTS for s in (0, 1)], "R2 0."),
    ],
)
def test_what_is_no_learning_curve_is_refused(wrong: list[Point], words: str) -> None:
    with pytest.raises(DataError, match=words):
        fit_curve(wrong)


def test_too_few_amounts_or_seeds_make_no_curve_with_intervals() -> None:
    """Of one seed the spread between seeds cannot be seen: its interval would be far too narrow."""
    all_points = points(seeds=2)
    with pytest.raises(DataError, match="3 amounts of data are too few to fit a curve; measure 4 or more"):
        fit_all([p for p in all_points if p.synthetic or p.real in AMOUNTS[:3]])
    with pytest.raises(DataError, match="one seed does not tell how far off .*; measure 2 or more"):
        fit_all([p for p in all_points if p.seed == 1])


def test_worthless_or_missing_synthetic_samples_are_refused() -> None:
    with pytest.raises(DataError, match="worth nothing"):
        fit_all(points(eta=0.0), refits=1)
    with pytest.raises(DataError, match="eta cannot be fitted"):
        fit_all([p for p in points() if not p.synthetic], refits=1)


def two_seeds(rng: np.random.Generator) -> list[Point]:
    """Eleven cells, two seeds each; a run errs by 1 point of error, more or less."""
    cells = [(n, 0) for n in (*AMOUNTS, 50, 800)] + [(100, 100), (100, 600), (400, 1000), (50, 400), (400, 400)]
    return [Point(r, s, seed, law(r + 0.5 * s) + 0.01 * rng.normal()) for seed in (0, 1) for r, s in cells]


def test_two_seeds_a_cell_are_not_taken_for_certainty() -> None:
    fits = [fit_all(two_seeds(np.random.default_rng(i)), refits=40) for i in range(12)]
    held = [fit.intervals["eta_free"][0] <= 0.5 <= fit.intervals["eta_free"][1] for fit in fits]
    assert sum(held) >= 10  # 95 % of 12 are 11.4
    assert np.median([high - low for low, high in (fit.intervals["eta_free"] for fit in fits)]) < 0.8


def test_what_errors_scatter_by_is_told_apart_by_hand() -> None:
    cells = [(n, 0) for n in AMOUNTS]
    flat = np.full(8, 0.5)  # sqrt(p (1 - p)) = 1/2: misses count double
    runs = [Point(n, s, seed, 0.5 + (0.01 if seed else -0.01)) for seed in (0, 1) for n, s in cells]
    found = scatter(runs, flat, n_fitted=3)
    # within a cell the two are 0.04 apart: variance 2 * 0.02^2 = 0.0008; the cells' means are all 0
    assert (found.run**2, found.cell, found.run_freedom) == (pytest.approx(8e-4), 0.0, 4)
    # the seeds' means are -0.02 and 0.02, variance 8e-4, of which a quarter of the runs' is chance
    assert found.seed**2 == pytest.approx(8e-4 - 2e-4)
    shared = [Point(n, s, seed, 0.5 + (0.01 if n < 200 else -0.01)) for seed in (0, 1) for n, s in cells]
    found = scatter(shared, flat, n_fitted=3)
    # four means of +-0.02 with one degree of freedom left after three coefficients
    assert (found.run, found.seed, found.cell**2) == (0.0, 0.0, pytest.approx(4 * 4e-4))
    single = scatter(shared[:4], flat[:4], n_fitted=3)
    assert (single.run**2, single.cell, single.run_freedom) == (pytest.approx(4 * 4e-4), 0.0, 1)


def test_a_small_test_part_widens_what_is_said_of_the_floor() -> None:
    wide, narrow = (fit_all(points(noise=0.003), refits=60, test_images=n) for n in (400, None))
    assert np.ptp(wide.intervals["gamma"]) > 1.5 * np.ptp(narrow.intervals["gamma"])
