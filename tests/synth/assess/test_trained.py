from __future__ import annotations

from dataclasses import replace

import pytest

from server.learning.curve import Fit
from server.synth.assess.trained import Amounts, Trained, augmentation, paired, recalls, scores, worth

AMOUNTS = Amounts(real=(25, 400, 1600), alone=(400,), bases=(100,), times=(1.0, 6.0), seeds=(0, 1))


def law(x: float) -> float:
    """25: 0.5, 100: 0.3, 400: 0.2, 1600: 0.15."""
    return 2.0 / x**0.5 + 0.1


def measured(eta: float = 0.5) -> list[Trained]:
    runs = AMOUNTS.of_real() + AMOUNTS.of_made("s")
    return [
        Trained(r.source, r.real, r.synthetic, r.seed, law(r.real + eta * r.synthetic), (0.5 + 0.2 * r.seed, None))
        for r in runs
    ]


def test_what_is_trained_is_what_was_asked_for() -> None:
    assert AMOUNTS.all_real == (25, 100, 400, 1600)
    assert AMOUNTS.mixtures == ((100, 100), (100, 600))
    assert AMOUNTS.most_synthetic == 600
    assert [r.cell for r in AMOUNTS.of_real()][:4] == [("", n, 0, 0) for n in (25, 100, 400, 1600)]
    assert [r.cell[1:] for r in AMOUNTS.of_made("s")][:3] == [(0, 400, 0), (100, 100, 0), (100, 600, 0)]
    assert len(AMOUNTS.of_made("s")) == 6


def test_the_score_stands_beside_that_of_real_images() -> None:
    (row,) = scores(measured(), AMOUNTS)
    # alone, 400 samples of half the worth are 200 real ones
    assert row["made"]["mean"] == pytest.approx(1 - law(200))
    assert row["real"] == pytest.approx({"mean": 0.8, "low": 0.8, "high": 0.8})
    assert row["gap"] == pytest.approx(law(200) - 0.2)
    assert recalls(measured(), 400) == {"made": [pytest.approx(0.6), None], "real": [pytest.approx(0.6), None]}


def test_eta_is_found_and_each_mixture_says_its_own() -> None:
    fit = worth(measured(), AMOUNTS, refits=3, test_images=1000)
    assert isinstance(fit, Fit)
    assert fit.eta == pytest.approx(0.5, rel=0.01)
    rows = augmentation(measured(), AMOUNTS, fit)
    assert [(r["real"], r["synthetic"]) for r in rows] == [(100, 0), (100, 100), (100, 600)]
    assert rows[0]["worth"] is None
    assert [r["worth"] for r in rows[1:]] == [pytest.approx(0.5, rel=0.02)] * 2
    assert rows[2]["error"]["mean"] == pytest.approx(0.2)


def test_variants_are_compared_run_by_run() -> None:
    first = measured()
    assert paired(first, first, AMOUNTS) == {"mean": 0.0, "standard_error": 0.0}
    shift = {100: 0.01, 600: 0.03}
    worse = [replace(r, error=r.error + shift[r.synthetic]) if r.real and r.synthetic else r for r in first]
    found = paired(worse, first, AMOUNTS)
    # 0.01, 0.01, 0.03, 0.03: mean 0.02, deviation sqrt(4 / 3) * 0.01, over sqrt(4)
    assert found == {"mean": pytest.approx(0.02), "standard_error": pytest.approx(0.01 / 3**0.5)}
    single = replace(AMOUNTS, times=(1.0,), seeds=(0,))
    assert paired(worse, first, single) == {"mean": pytest.approx(0.01), "standard_error": None}


def test_no_eta_is_a_sentence_and_no_number() -> None:
    runs = measured(eta=1e-9)
    said = worth(runs, AMOUNTS, refits=3, test_images=1000)
    assert isinstance(said, str)
    assert "worth nothing" in said
    assert [r["worth"] for r in augmentation(runs, AMOUNTS, said)] == [None] * 3
