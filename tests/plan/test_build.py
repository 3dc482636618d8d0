"""The solver's arrays: hulls of tables of different lengths, radios on a basis, discrete levels."""

from __future__ import annotations

import numpy as np
import pytest

from models import energy
from server.plan import build as build_module
from server.plan.build import build_fleet
from server.plan.problem import AnalyticCpu, Radio
from tests.plan.builders import device, problem, random_problem, table

CURVE = AnalyticCpu(0.5, 5e8, 2.0, 1.0, 1e-27, 1e8, 2e9)


def test_hulls_are_packed_in_front_and_padded_with_the_cheapest_point():
    # 300 MHz is dominated, 100 MHz dearer than 200: (4e8, 1 s, 6 J) and (2e8, 2 s, 2 J) remain
    odd = table((1e8, 4.0, 2.5), (2e8, 2.0, 2.0), (3e8, 1.5, 9.0), (4e8, 1.0, 6.0))
    long = table((1e8, 4.0, 1.0), (2e8, 2.0, 2.0), (4e8, 1.0, 6.0))
    fleet = build_fleet(problem(device("a", cpu=odd), device("b", cpu=CURVE), device("c", cpu=long)))
    assert fleet.tables.rows.tolist() == [0, 2]
    assert fleet.tables.tau_s.tolist() == [[1.0, 2.0, 2.0], [1.0, 2.0, 4.0]]
    assert fleet.tables.joules.tolist() == [[6.0, 2.0, 2.0], [6.0, 2.0, 1.0]]
    assert fleet.tables.freq_hz.tolist() == [[4e8, 2e8, 2e8], [4e8, 2e8, 1e8]]
    assert fleet.curves.rows.tolist() == [1]
    assert (fleet.tau_min_s[0], fleet.tau_min_s[1], fleet.tau_idle_s[2]) == (1.0, 0.75, 4.0)


@pytest.mark.parametrize("basis", ["added", "board"])
def test_many_tables_at_once_are_what_each_is_alone(monkeypatch, basis):
    monkeypatch.setattr(build_module, "_CHUNK", 3)  # several pieces of each length
    asked = random_problem(5, 40, "wired", "tables", 0.5, basis)
    tables = build_fleet(asked).tables
    for row, one in enumerate(asked.devices):
        cpu = one.cpu
        joules = cpu.j_per_sample - (cpu.power_idle_w * cpu.s_per_sample if basis == "added" else 0.0)
        hull = energy.falling_hull(cpu.s_per_sample, joules)
        width = len(hull)
        assert tables.tau_s[row, :width].tolist() == cpu.s_per_sample[hull].tolist()
        assert tables.freq_hz[row, :width].tolist() == cpu.freq_hz[hull].tolist()
        assert tables.joules[row, :width] == pytest.approx(joules[hull], rel=1e-15)
        assert (tables.tau_s[row, width:] == tables.tau_s[row, width - 1]).all()


def test_the_basis_of_laws_and_radios():
    radio = Radio("wired", link_bits_per_s=1.0, overhead_w=0.5)
    added, board = (
        build_fleet(problem(device(cpu=CURVE, radio=radio), energy_basis=basis)) for basis in ("added", "board")
    )
    assert (added.curves.power_static_w[0], added.links.overhead_w[0]) == (1.0, 0.5)
    assert (board.curves.power_static_w[0], board.links.overhead_w[0]) == (2.0, 1.5)


def test_the_power_that_each_kind_of_radio_has():
    channel = {"gain_over_noise_hz_per_w": 4.0, "amplifier_efficiency": 0.5}
    radios = [
        Radio("scheduled", tx_power_max_w=0.3, tx_power_w=9.0, **channel),
        Radio("fixed_power", tx_power_w=0.2, tx_power_max_w=9.0, **channel),
        Radio("scheduled", levels_w=(0.1, 0.25), **channel),
        Radio("wired", link_bits_per_s=1.0),
    ]
    links = build_fleet(problem(*(device(f"d{i}", radio=r) for i, r in enumerate(radios)), bandwidth_hz=1.0)).links
    assert links.power_w.tolist() == [0.3, 0.2, 0.25, 0.0]
    assert links.noise_w_per_hz[:3].tolist() == [0.25] * 3
    assert links.levels_w[2].tolist() == [0.1, 0.25]
    assert np.isnan(links.levels_w[[0, 1, 3]]).all()
    assert (links.scheduled | links.fixed_power).tolist() == [True, True, True, False]


def test_without_levels_there_are_none():
    assert build_fleet(problem(device())).links.levels_w is None
