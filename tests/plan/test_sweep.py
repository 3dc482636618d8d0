from __future__ import annotations

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.solve import solve
from server.plan.sweep import parse_range, sweep
from tests.plan.builders import device, problem, table

SINGLE = table((1e9, 1.0, 1.0))


def test_ranges_by_hand():
    over = parse_range("target-error=0.1:0.2:3")
    assert (over.axis, over.field) == ("target-error", "target_error")
    assert over.values.tolist() == pytest.approx([0.1, 0.15, 0.2])
    assert parse_range("round-s=10:20:2").values.tolist() == [10.0, 20.0]


@pytest.mark.parametrize("text", ["", "round_s=1:2:3", "round-s", "round-s=1:2", "round-s=a:2:3", "round-s=1:2:3.5"])
def test_what_is_no_range(text):
    with pytest.raises(ConfigError, match="is not AXIS=LO:HI:N with AXIS one of target-error, round-s"):
        parse_range(text)


@pytest.mark.parametrize("numbers", ["2:1:3", "0:1:3", "1:2:1", "1:2:1001", "1:inf:3", "nan:1:3", "-1:1:3"])
def test_numbers_that_make_no_range(numbers):
    with pytest.raises(ConfigError, match="is not LO:HI:N with 0 < LO < HI and N from 2 to 1000"):
        parse_range(f"round-s={numbers}")


def test_a_frontier_by_hand():
    # one clock of 1 J a sample, err = 1/x: 1/target samples, and half a joule of upload
    points = list(sweep(problem(device(cpu=SINGLE), target=0.5), parse_range("target-error=0.02:0.1:5"), solve))
    assert [point.energy_j for point in points] == pytest.approx([50.5, 25.5, 17.1666667, 13.0, 10.5])
    assert [point.executed_energy_j for point in points] == pytest.approx([50.5, 25.5, 17.5, 13.5, 10.5])
    assert [point.upload_j for point in points] == [0.5] * 5
    assert points[0].price_error_j == pytest.approx(2500.0)


def test_values_without_a_plan_have_a_reason():
    # 10 samples of 1 or 2 s and 1 s of upload: 11 s at least, 21 s to be cheapest
    points = list(sweep(problem(device()), parse_range("round-s=6:26:3"), solve))
    assert [point.energy_j for point in points] == [pytest.approx(np.nan, nan_ok=True), pytest.approx(25.5), 20.5]
    assert "round_s 6 is too short for a" in points[0].reason
    assert [point.reason for point in points[1:]] == ["", ""]
