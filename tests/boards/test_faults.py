"""What is wrong with a board on purpose: the laws, with numbers by hand."""

from __future__ import annotations

import random

import pytest

from firmware_profiles.loader import load_profile
from tools.boards.faults import Battery, Faults, SensorFaults, Strain, battery, strained, true_hz
from tools.boards.law import nominal_law

OPPS = (600e6, 1000e6, 1500e6)


@pytest.mark.parametrize(
    ("faults", "strain", "kernel_hz", "hz"),
    [
        (Faults(), Strain(), 1000e6, 1000e6),
        (Faults(clock_not_applied=True), Strain(), 600e6, 1500e6),
        (Faults(clock_floor_hz=900e6), Strain(), 600e6, 900e6),
        (Faults(clock_cap_hz=1200e6), Strain(), 1500e6, 1200e6),
        (Faults(clock_boost=0.2), Strain(), 1000e6, 1200e6),
        (Faults(), Strain(steps=1), 1500e6, 1000e6),
        (Faults(), Strain(steps=1), 600e6, 600e6),
        (Faults(), Strain(steps=9), 1500e6, 600e6),
        (Faults(clock_not_applied=True), Strain(sagging_s=1.0), 1500e6, 600e6),
    ],
)
def test_the_true_clock(faults: Faults, strain: Strain, kernel_hz: float, hz: float) -> None:
    assert true_hz(faults, strain, kernel_hz, OPPS) == pytest.approx(hz)


def test_heat_takes_the_clock_down_step_by_step_and_back() -> None:
    faults, strain, seen = Faults(throttle_c=80.0), Strain(), []
    for celsius in (70.0, 76.0, 81.0, 81.0, 81.0, 79.0, 75.0, 75.0, 70.0):
        strain = strained(faults, strain, 0.5, celsius, 5.0, n_opps=3)
        seen.append((strain.steps, sorted(strain.now)))
    assert seen == [
        (0, []),
        (0, ["soft_limit"]),
        (1, ["soft_limit", "throttled"]),
        (2, ["soft_limit", "throttled"]),
        (2, ["soft_limit", "throttled"]),  # no step is left
        (2, ["soft_limit", "throttled"]),  # not yet cool enough
        (1, ["throttled"]),
        (0, []),
        (0, []),
    ]
    assert strain.bits == 0b1100 << 16


def test_steps_take_their_time() -> None:
    faults, strain = Faults(throttle_c=80.0), Strain()
    for _ in range(6):  # 0.6 s in ticks of 0.1 s: one step at once, the next after half a second
        strain = strained(faults, strain, 0.1, 90.0, 5.0, n_opps=9)
    assert strain.steps == 2


def test_a_weak_supply_sags_and_recovers() -> None:
    faults = Faults(under_voltage_w=6.0)
    low = strained(faults, Strain(), 0.1, 50.0, 6.1, n_opps=3)
    assert (sorted(low.now), low.bits) == (["capped", "under_voltage"], 0b11 | 0b11 << 16)
    after = strained(faults, low, 1.0, 50.0, 4.0, n_opps=3)
    assert sorted(after.now) == ["capped"]
    assert sorted(strained(faults, after, 1.1, 50.0, 4.0, n_opps=3).now) == []


def test_a_hot_board_under_load_settles_around_its_limit() -> None:
    """The board's own law at 45 C: at the top clock it would reach 45 + 8 * 6.4 = 96 C."""
    profile = load_profile("raspberry-pi-4b")
    law, faults, strain = nominal_law(profile, 0.5), Faults(throttle_c=85.0), Strain()
    temperature_c, n = 45.0 + 8.0 * law.idle_w, len(law.opps_hz)
    trail = []
    for _ in range(6000):
        hz = true_hz(faults, strain, law.opps_hz[-1], law.opps_hz)
        power_w = law.busy_w(hz, temperature_c)
        temperature_c += (45.0 + 8.0 * power_w - temperature_c) * 0.1 / 60.0
        strain = strained(faults, strain, 0.1, temperature_c, power_w, n)
        trail.append((temperature_c, hz))
    assert max(celsius for celsius, _ in trail) < 86.5
    assert min(celsius for celsius, _ in trail[3000:]) > 79.0
    assert {hz for _, hz in trail[3000:]} != {law.opps_hz[-1]}
    assert "throttled" in strain.since_boot


def test_a_battery_by_hand() -> None:
    faults = Faults(battery_wh=10.0, battery_start=0.5, charger_w=2.0)
    held = battery(faults, drawn_j=9000.0, seconds=1000.0)  # 18,000 J - 9,000 + 2,000
    assert held == Battery(36_000.0, 11_000.0, charging=True)
    assert held.percent == 31
    assert battery(faults, 1e6, 0.0) == Battery(36_000.0, 0.0, charging=True)
    assert battery(Faults(), 1.0, 1.0) is None


def test_a_sensor_that_glitches_sticks_and_goes() -> None:
    wild = SensorFaults(Faults(sensor_glitch=1.0), random.Random(1))
    assert {wild.shown_w(3.0, 1.0) for _ in range(20)} == {0.0, 150.0}
    stuck = SensorFaults(Faults(sensor_stuck_after_s=5.0), random.Random(1))
    assert (stuck.shown_w(3.0, 4.9), stuck.shown_w(3.0, 5.0)) == (3.0, None)
    gone = SensorFaults(Faults(sensor_vanishes_after_s=2.0), random.Random(1))
    assert (gone.gone(1.9), gone.gone(2.0)) == (False, True)


def test_without_faults_nothing_holds_a_hot_board_down() -> None:
    assert strained(Faults(), Strain(), 1.0, 120.0, 50.0, n_opps=3) == Strain()
