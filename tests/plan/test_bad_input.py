"""Whatever a problem's numbers are, there is a sound plan or a sentence that names what is wrong; never a warning."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ConfigError
from server.plan.check import violations
from server.plan.columnar import names
from server.plan.columns import Laws, Opps, Radios
from server.plan.diagnosis import NoPlanError
from server.plan.problem import Devices, LearningCurve, Problem
from server.plan.solve import solve
from server.plan.validate import validate
from tests.plan.builders import KINDS, device, problem, random_problem

TERMS = ["round_s", "bandwidth_hz", "target_error", "synthetic_value"]
CURVE = ["alpha", "beta", "gamma"]
COLUMNS = ["local_counts", "storage_samples", "upload_bits", "power_idle_w"]
PARTS = {"laws": names(Laws), "opps": names(Opps)[1:], "radios": names(Radios)[1:]}
PLACES = [
    *TERMS,
    *(f"learning_curve.{name}" for name in CURVE),
    *COLUMNS,
    *(f"{part}.{name}" for part, fields in PARTS.items() for name in fields),
]
NOT_NEGATIVE = {"learning_curve.gamma", "power_idle_w", "laws.fixed_s_per_sample", "radios.overhead_w"}


def changed(asked: Problem, place: str, change, row: int | None = None) -> Problem:
    """The problem with the number at `place` changed: of one device, or of all."""
    first, _, second = place.partition(".")
    if place in TERMS:
        return replace(asked, **{place: change(getattr(asked, place) or math.nan)})
    if first == "learning_curve":
        curve = replace(asked.learning_curve, **{second: change(getattr(asked.learning_curve, second))})
        return replace(asked, learning_curve=curve)

    def new(values: np.ndarray) -> np.ndarray:
        rows = slice(None) if row is None or not len(values) else row % len(values)
        values, fresh = values.copy(), change(values[rows].astype(float))
        values[rows] = np.minimum(fresh, 2.0**31 - 1) if values.dtype.kind == "i" else fresh
        return values

    devices = asked.devices
    if second:
        part = getattr(devices, first)
        return replace(
            asked, devices=replace(devices, **{first: replace(part, **{second: new(getattr(part, second))})})
        )
    return replace(asked, devices=replace(devices, **{first: new(getattr(devices, first))}))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 4),
    kind=st.sampled_from(KINDS),
    basis=st.sampled_from(["added", "board"]),
    place=st.sampled_from(PLACES),
    power=st.sampled_from([-6, -4, -2, -1, 1, 2, 4, 6]),
    row=st.one_of(st.none(), st.integers(0, 9)),
)
def test_wild_scales_are_planned_or_refused_by_name(seed, count, kind, basis, place, power, row):
    asked = random_problem(seed, count, kind, "mixed", 0.5, basis)
    if place in TERMS and getattr(asked, place) is None:
        return
    try:
        asked = changed(asked, place, lambda value: value * 10.0**power, row)
        plan = solve(asked, batch_size=32)
    except (ConfigError, NoPlanError) as error:
        assert len(str(error)) > 20
        return
    assert violations(asked, plan) == []
    assert plan.lower_bound_j <= plan.energy_j * (1 + 1e-9)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, 0.0])
def test_odd_numbers_are_refused_by_name(place, odd):
    asked = random_problem(1, 6, "mixed", "mixed", 0.5)
    if place in ("local_counts", "storage_samples") and odd != -1.0:
        return  # whole numbers; none of a class, and no room, are possible
    if odd == 0.0 and place in NOT_NEGATIVE | {"laws.power_static_w"}:
        return  # a power_static_w of 0 may be above idle or not
    if place == "laws.power_static_w" and odd == -1.0:
        odd = -1e9  # negative watts may be fitted; but training must draw some
    row = {"laws": 1, "opps": 3}.get(place.partition(".")[0], 0)
    row = {"radios.tx_power_w": 1, "radios.link_bits_per_s": 2}.get(place, row)  # the kinds of radio take turns
    broken = changed(asked, place, lambda value: value * 0.0 + odd, row)
    with pytest.raises(ConfigError) as error:
        validate(broken)
    assert place.rpartition(".")[2] in str(error.value) or "cpu: on the basis" in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_one_device_and_one_class(kind):
    asked = random_problem(2, 1, kind, "mixed", 0.5)
    one = replace(asked.devices[0], local_counts=asked.devices.local_samples)
    plan = solve(replace(asked, devices=Devices.of([one])))
    assert plan.relative_gap < 1e-6
    assert plan.devices.synth_counts.shape == (1, 1)


@pytest.mark.parametrize("kind", ["wired", "scheduled", "shared_link"])
def test_a_hundred_twins(kind):
    one = random_problem(2, 1, kind, "tables", 0.5)
    twins = Devices.of(replace(one.devices[0], id=f"d{i}") for i in range(100))
    plan = solve(replace(one, devices=twins, bandwidth_hz=1e8, round_s=6000.0), batch_size=32)
    assert plan.relative_gap < 1e-6
    assert np.ptp(plan.devices.samples) <= 1e-6 * plan.devices.samples.max()


def test_devices_without_a_single_sample_get_some():
    bare = [device(f"d{i}", local=(0, 0)) for i in range(5)]
    plan = solve(problem(*bare, target=0.1))
    assert plan.devices.executed.samples.tolist() == [10] * 5


def test_a_target_that_asks_for_nothing():
    plan = solve(replace(random_problem(1, 4, "mixed", "mixed", 0.5), target_error=1e6))
    assert plan.price_error_j == 0.0
    assert plan.relative_gap < 1e-6


def test_a_curve_as_flat_and_as_steep_as_can_be():
    for beta in (1e-6, 1e-3, 10.0, 50.0):
        asked = replace(problem(device("a"), device("b"), target=0.999), learning_curve=LearningCurve(1.0, beta, 0.0))
        try:
            assert solve(asked).relative_gap < 1e-6
        except NoPlanError as error:
            assert error.constraint == "target_error"
