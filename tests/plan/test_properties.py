"""What must hold of every plan, on random fleets of all kinds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.plan.build import build_fleet
from server.plan.check import violations
from server.plan.device_step import device_step
from server.plan.diagnosis import NoPlanError
from server.plan.dual import bound
from server.plan.problem import AccuracyModel, AnalyticCpu, Device, Devices, OppTable, Plan, Problem
from server.plan.solve import solve
from tests.plan.builders import KINDS, random_problem

SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
FEW = settings(SOME, max_examples=12)


def _modelled(asked: Problem, model: AccuracyModel) -> Problem:
    return replace(asked, accuracy_model=model)


problems = st.builds(
    _modelled,
    st.builds(
        random_problem,
        seed=st.integers(0, 10_000),
        count=st.integers(1, 6),
        kind=st.sampled_from(KINDS),
        cpus=st.sampled_from(["tables", "curves", "mixed"]),
        accuracy=st.sampled_from([None, 0.0, 0.1, 0.5, 0.9]),
        basis=st.sampled_from(["added", "board"]),
        epochs=st.integers(1, 3),
    ),
    st.sampled_from(["device_mean", "pooled"]),
)


@SOME
@given(problems)
def test_every_plan_is_sound_and_certified(asked):
    with suppress(NoPlanError):  # a fleet of few may lack the half sample that whole ones cost
        plan = solve(asked)
        _assert_sound(asked, plan)


def _assert_sound(asked: Problem, plan: Plan) -> None:
    assert violations(asked, plan) == []
    assert -1e-9 <= plan.relative_gap <= 1e-8
    assert plan.executed_energy_j >= plan.lower_bound_j * (1 - 1e-9)


@FEW
@given(problems, st.floats(0, 1e5), st.floats(0, 1e-3))
def test_any_prices_give_a_lower_bound(asked, price_error_j, price_medium_j):
    fleet = build_fleet(asked)
    plan = solve(asked)
    price_error_j = price_error_j if asked.target_error is not None else 0.0
    price_medium_j = price_medium_j if np.isfinite(fleet.capacity) else 0.0
    assert bound(fleet, device_step(fleet, price_error_j, price_medium_j)) <= plan.energy_j * (1 + 1e-12)


@FEW
@given(problems, st.sampled_from(["round_s", "bandwidth_hz", "target_error"]))
def test_more_room_never_costs_energy(asked, field):
    value = getattr(asked, field)
    if value is None:
        return
    wider = replace(asked, **{field: 1.05 * value})
    assert solve(wider).energy_j <= solve(asked).energy_j * (1 + 1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cpus", ["tables", "curves"])
def test_a_hundred_devices(kind, cpus):
    asked = random_problem(7, 100, kind, cpus, 0.6)
    plan = solve(asked)
    assert -1e-9 <= plan.relative_gap <= 1e-8
    assert plan.executed_gap <= 5e-4


def _scaled(asked: Problem, seconds: float, joules: float) -> Problem:
    """The same problem with other units of time and energy."""
    watts = joules / seconds

    def device(one: Device) -> Device:
        cpu = one.cpu
        if isinstance(cpu, OppTable):
            cpu = OppTable(cpu.freq_hz / seconds, cpu.s_per_sample * seconds, cpu.j_per_sample * joules,
                           cpu.power_idle_w * watts)  # fmt: skip
        else:
            cpu = AnalyticCpu(
                cpu.fixed_s_per_sample * seconds,
                cpu.cycles_per_sample,
                cpu.power_static_w * watts,
                cpu.power_idle_w * watts,
                cpu.kappa_w_per_hz3 * watts * seconds**3,
                cpu.freq_min_hz / seconds,
                cpu.freq_max_hz / seconds,
            )
        link = one.radio
        link = replace(
            link,
            gain_over_noise_hz_per_w=link.gain_over_noise_hz_per_w and link.gain_over_noise_hz_per_w / seconds / watts,
            tx_power_max_w=link.tx_power_max_w and link.tx_power_max_w * watts,
            tx_power_w=link.tx_power_w and link.tx_power_w * watts,
            overhead_w=link.overhead_w * watts,
            link_bits_per_s=link.link_bits_per_s and link.link_bits_per_s / seconds,
        )
        return replace(one, cpu=cpu, radio=link)

    return replace(
        asked,
        devices=Devices.of(device(one) for one in asked.devices),
        round_s=asked.round_s * seconds,
        bandwidth_hz=asked.bandwidth_hz and asked.bandwidth_hz / seconds,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("seconds", "joules"), [(1e-6, 1e6), (1e6, 1e-6)])
def test_units_change_nothing(kind, seconds, joules):
    asked = random_problem(3, 3, kind, "mixed", 0.5)
    plan, other = solve(asked), solve(_scaled(asked, seconds, joules))
    assert other.energy_j == pytest.approx(plan.energy_j * joules, rel=1e-7)
    assert other.relative_gap < 1e-7
    assert [d.executed_samples for d in other.devices] == [d.executed_samples for d in plan.devices]


def test_identical_devices_are_treated_alike():
    one = random_problem(5, 1, "scheduled", "tables", 0.5)
    many = replace(
        one,
        devices=Devices.of(replace(one.devices[0], id=f"d{i}") for i in range(4)),
        bandwidth_hz=4 * (one.bandwidth_hz or 0),
    )
    single, plan = solve(one), solve(many)
    assert plan.energy_j <= 4 * single.energy_j * (1 + 1e-9)
    assert [d.samples for d in plan.devices] == pytest.approx([plan.devices[0].samples] * 4, rel=1e-6)


def test_the_edge_of_accuracy():
    """A target a hair above the best that can be reached is met, near enough to the bound."""
    asked = random_problem(11, 4, "scheduled", "mixed", 0.5)
    with pytest.raises(NoPlanError) as error:
        solve(replace(asked, target_error=0.05001))
    assert error.value.nearest is not None
    plan = solve(replace(asked, target_error=error.value.nearest * 1.001))
    assert plan.relative_gap <= 1e-6
