"""The law stepped without processes: hand numbers, and what must hold whatever the governor and the worker do."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_profiles.loader import load_profile, shipped
from tools.boards.law import CAP_S, BoardLaw, BoardState, draw_law, nominal_law

# numbers to reckon by hand: 1 and 2 GHz, half of the time per sample waits for memory at 2 GHz
LAW = BoardLaw(
    q_max=0.3,
    opps_hz=(1e9, 2e9),
    voltage_v=(0.5, 1.0),
    stall_share=0.5,
    true_floor_hz=0.0,
    idle_load_w=2.0,
    capacitance_w_per_v2hz=1e-9,
    leakage_w=1.0,
    leakage_scale_c=10.0,
    reference_c=50.0,
    converter_loss_per_w=0.0,
    link_w=0.5,
    ambient_c=20.0,
    resistance_c_per_w=10.0,
    time_constant_s=60.0,
)


def test_speed_by_hand() -> None:
    assert LAW.relative_tau(2e9) == 1.0
    assert LAW.relative_tau(1e9) == pytest.approx(1.5)  # 0.5 + 0.5 * 2
    assert LAW.share(2e9) == pytest.approx(0.3)
    assert LAW.share(1e9) == pytest.approx(0.2)


def test_power_by_hand() -> None:
    assert LAW.idle_w == pytest.approx(2.0)
    # 2 + 1e-9 * 1 * 2e9 + 1 * 1 at the reference temperature; e times the leakage 10 degrees above
    assert LAW.busy_w(2e9, 50.0) == pytest.approx(5.0)
    assert LAW.busy_w(2e9, 60.0) == pytest.approx(4.0 + math.e)
    # 2 + 1e-9 * 0.25 * 1e9 + 0.5
    assert LAW.busy_w(1e9, 50.0) == pytest.approx(2.75)
    lossy = replace(LAW, converter_loss_per_w=0.1)
    assert lossy.idle_w == pytest.approx(2.4)
    assert lossy.busy_w(2e9, 50.0) == pytest.approx(7.5)


def test_a_clock_below_the_floor_runs_at_the_floor() -> None:
    law = replace(LAW, true_floor_hz=2e9)
    assert law.share(1e9) == law.share(2e9)
    assert law.busy_w(1e9, 50.0) == law.busy_w(2e9, 50.0)


def test_an_idle_step_costs_idle_power_and_a_busy_one_busy_power() -> None:
    start = BoardState(temperature_c=50.0)
    idle = LAW.step(start, 1.0, 0.0, 0.3, freq_hz=2e9)
    assert (idle.energy_j, idle.busy_s, idle.idle_s) == pytest.approx((2.0, 0.0, 1.0))
    assert idle.credit_s == pytest.approx(CAP_S)
    busy = LAW.step(start, 1.0, 0.3, 0.3, freq_hz=2e9)
    assert (busy.energy_j, busy.busy_s, busy.idle_s) == pytest.approx((5.0, 1.0, 0.0))
    half = LAW.step(start, 1.0, 0.15, 0.3, freq_hz=2e9)
    assert (half.energy_j, half.busy_s) == (pytest.approx(3.5), pytest.approx(0.5))


def test_a_stopped_worker_in_debt_is_busy() -> None:
    indebted = BoardState(temperature_c=50.0, credit_s=-1.0)
    state = LAW.step(indebted, 0.5, 0.0, 0.15, freq_hz=2e9)
    assert (state.busy_s, state.credit_s) == (0.5, -0.5)
    assert state.energy_j == pytest.approx(2.5)


def test_bytes_cost_link_power() -> None:
    state = LAW.step(BoardState(temperature_c=50.0), 1.0, 0.0, 0.3, freq_hz=2e9, link_s=0.25)
    assert state.energy_j == pytest.approx(2.125)
    assert state.link_s == 0.25


def test_temperature_settles_where_power_carries_it() -> None:
    law = replace(LAW, leakage_w=0.0)
    state = law.start()
    assert state.temperature_c == pytest.approx(40.0)  # 20 + 10 * 2 W
    for _ in range(1000):
        state = law.step(state, 1.0, 0.3, 0.3, freq_hz=2e9)
    assert state.temperature_c == pytest.approx(60.0)  # 20 + 10 * 4 W
    assert state.energy_j == pytest.approx(4000.0)


def test_no_time_no_change() -> None:
    start = LAW.start()
    assert LAW.step(start, 0.0, 0.0, 0.0, freq_hz=2e9) is start


steps = st.lists(
    st.tuples(
        st.floats(1e-4, 0.2),  # dt
        st.floats(0.0, 0.05),  # CPU-seconds used
        st.sampled_from((1e9, 2e9)),
        st.floats(0.0, 1.0),  # share of dt in which bytes flow
    ),
    min_size=1,
    max_size=60,
)


@given(steps)
def test_every_second_is_busy_or_idle_and_every_joule_is_accounted_for(walk: list[tuple[float, ...]]) -> None:
    law = replace(LAW, leakage_w=0.0)  # then power does not depend on the history
    state = law.start()
    first_credit_s, above_idle_j, consumed_s = state.credit_s, 0.0, 0.0
    for dt_s, used_s, freq_hz, flowing in walk:
        before = state
        state = law.step(state, dt_s, used_s, law.share(freq_hz) * dt_s, freq_hz=freq_hz, link_s=flowing * dt_s)
        consumed_s += used_s / law.share(freq_hz)
        above_idle_j += (law.busy_w(freq_hz, 50.0) - law.idle_w) * (state.busy_s - before.busy_s)
        assert state.credit_s <= CAP_S + 1e-12
        assert law.idle_w * dt_s <= state.energy_j - before.energy_j + 1e-12
    assert state.busy_s + state.idle_s == pytest.approx(state.seconds)
    # busy time is board time consumed, but for what is still in the bucket
    assert state.busy_s == pytest.approx(consumed_s + state.credit_s - first_credit_s, abs=1e-9)
    assert state.energy_j == pytest.approx(law.idle_w * state.seconds + above_idle_j + law.link_w * state.link_s)
    assert state.cpu_s == pytest.approx(sum(step[1] for step in walk))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(shipped()), st.floats(0.001, 0.03))
def test_a_governed_worker_runs_at_the_law_s_speed(seed: int, name: str, tick_s: float) -> None:
    """A worker that takes a whole core whenever it may, under a governor that looks at uneven intervals."""
    rng = random.Random(seed)
    law = nominal_law(load_profile(name), q_max=0.2)
    done = []
    for freq_hz in (law.opps_hz[-1], law.opps_hz[len(law.opps_hz) // 2]):
        state = law.start()
        while state.seconds < 60.0:
            dt_s = tick_s * rng.uniform(0.5, 2.0)
            used_s = dt_s if state.credit_s > 0 else 0.0
            state = law.step(state, dt_s, used_s, law.share(freq_hz) * dt_s, freq_hz=freq_hz)
        assert state.idle_s == 0.0
        done.append(state.cpu_s / state.seconds)
    ratio = law.relative_tau(law.opps_hz[len(law.opps_hz) // 2])
    assert done[0] / done[1] == pytest.approx(ratio, rel=0.03)


@pytest.mark.parametrize("name", shipped())
def test_the_nominal_unit_has_the_profile_s_levels(name: str) -> None:
    profile = load_profile(name)
    law = nominal_law(profile, 0.2)
    assert law.idle_w == pytest.approx(profile.power.idle_w.value)
    full_w = law.busy_w(law.opps_hz[-1], profile.power.reference_c.value)
    assert full_w == pytest.approx(profile.power.full_w.value)
    busy = [law.busy_w(freq_hz, 50.0) for freq_hz in law.opps_hz]
    assert busy == sorted(busy)
    assert law.idle_w < busy[0]


@pytest.mark.parametrize("name", shipped())
def test_units_differ_and_the_seed_decides(name: str) -> None:
    profile = load_profile(name)
    first, again, other = (draw_law(profile, 0.2, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first.idle_w == pytest.approx(profile.power.idle_w.value, rel=0.07)


def test_power_is_not_the_form_that_the_planner_fits() -> None:
    """The best P_s + kappa f^3 leaves a visible residual: the planner has to live with a law it does not know."""
    law = nominal_law(load_profile("jetson-nano"), 0.2)
    cubes = [(hz / 1e9) ** 3 for hz in law.opps_hz]
    watts = [law.busy_w(hz, 50.0) for hz in law.opps_hz]
    n, mean_c, mean_w = len(cubes), sum(cubes) / len(cubes), sum(watts) / len(watts)
    kappa = sum((c - mean_c) * (w - mean_w) for c, w in zip(cubes, watts, strict=True)) / sum(
        (c - mean_c) ** 2 for c in cubes
    )
    worst = max(abs(mean_w + kappa * (c - mean_c) - w) / w for c, w in zip(cubes, watts, strict=True))
    assert n == 15
    assert worst > 0.02
