"""Plans whose optimum is known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.plan.problem import AnalyticCpu, LearningCurve, Radio
from server.plan.solve import relative_gap, solve
from tests.plan.builders import device, problem, table, wired

SINGLE = table((1e9, 1.0, 1.0))  # one clock: 1 s and 1 J a sample


def tight(plan, energy_j, rel=1e-9):
    """The plan costs what is expected, and the certificate says that nothing costs less."""
    assert plan.energy_j == pytest.approx(energy_j, rel=rel)
    assert plan.lower_bound_j == pytest.approx(energy_j, rel=rel)
    assert abs(plan.relative_gap) < rel
    assert plan.method == "exact"
    assert plan.seconds > 0


def test_time_sharing_between_two_clocks():
    # 16 s less 1 s of upload for 10 samples: 1.5 s a sample, half of them on each clock, 2.5 J on average
    plan = solve(problem(device(), round_s=16.0))
    tight(plan, 25.0 + 0.5)
    share = plan.devices[0]
    assert (share.samples, share.compute_s, share.upload_s) == pytest.approx((10.0, 15.0, 1.0))
    assert (share.compute_j, share.upload_j) == pytest.approx((25.0, 0.5))
    assert [(s.freq_hz, s.samples) for s in share.segments] == [(1e9, 5), (5e8, 5)]
    assert (share.executed_samples, share.executed_compute_s, share.executed_compute_j) == (10, 15.0, 25.0)
    assert (plan.executed_energy_j, share.synth_counts) == (25.5, (0, 0))
    assert (share.bandwidth_hz, share.tx_power_w) == (0.0, None)
    assert (plan.price_error_j, plan.price_bandwidth_j_per_hz) == (0.0, 0.0)
    # 20 J take 20 s, 30 J take 10 s: a second more saves a joule
    assert plan.price_s_w == pytest.approx([1.0])


def test_early_finish():
    plan = solve(problem(device(), round_s=100.0))
    tight(plan, 20.5)
    assert plan.devices[0].compute_s == pytest.approx(20.0)
    assert [(s.freq_hz, s.samples) for s in plan.devices[0].segments] == [(5e8, 10)]
    assert plan.price_s_w == pytest.approx([0.0])


def test_local_epochs_multiply_the_work():
    plan = solve(problem(device(), round_s=100.0, local_epochs=3))
    tight(plan, 60.5)
    assert plan.devices[0].segments[0].samples == 30


def test_just_enough_time_runs_at_the_highest_clock():
    plan = solve(problem(device(), round_s=11.0))
    tight(plan, 30.5)
    assert [(s.freq_hz, s.samples) for s in plan.devices[0].segments] == [(1e9, 10)]


def test_the_basis_changes_both_static_terms():
    # idle 0.5 W: 2 J less 1 J, or 3 J less 0.5 J; the radio's 0.5 W for 1 s either alone or with the idle floor
    board = device(cpu=table((5e8, 2.0, 2.0), (1e9, 1.0, 3.0), idle_w=0.5))
    tight(solve(problem(board, round_s=100.0)), 10.0 + 0.5)
    tight(solve(problem(board, round_s=100.0, energy_basis="board")), 20.0 + 1.0)


def test_the_compute_module_by_basis():
    mhz = np.array([1200.0, 1500, 1800, 1950, 2000, 2100])
    seconds = np.array([209.0, 183, 161, 153, 150, 145]) / 100
    watts = np.array([2.521, 2.740, 3.029, 3.178, 3.271, 3.477])
    points = [(f * 1e6, s, s * w) for f, s, w in zip(mhz, seconds, watts, strict=True)]
    board = device(local=(100,), cpu=table(*points, idle_w=1.944), radio=wired(overhead_w=0.0))
    asked = problem(board)
    added = solve(asked).devices[0].segments
    whole = solve(replace(asked, energy_basis="board")).devices[0].segments
    assert [(s.freq_hz, s.samples) for s in added] == [(1200e6, 100)]
    assert [(s.freq_hz, s.samples) for s in whole] == [(1950e6, 100)]


def test_accuracy_is_bought_where_it_is_cheap():
    # min D1 + 4 D2 with (1/D1 + 1/D2)/2 <= 3/80: D1 = 2 D2 = 40, and lambda = 2 * 1 J * D1**2
    cheap = device("a", cpu=SINGLE)
    dear = device("b", cpu=table((1e9, 1.0, 4.0)))
    plan = solve(problem(cheap, dear, target=3 / 80))
    tight(plan, 40 + 80 + 1.0)
    assert [share.samples for share in plan.devices] == pytest.approx([40.0, 20.0], rel=1e-6)
    assert plan.price_error_j == pytest.approx(3200.0, rel=1e-6)
    assert [share.synth_counts for share in plan.devices] == [(10, 20), (0, 10)]


def test_a_synthetic_sample_counts_eta():
    # 20 effective samples: 10 real and 20 synthetic of half the worth; err' = -1/400, so lambda = 400 / 0.5
    plan = solve(problem(device(cpu=SINGLE), target=1 / 20, synthetic_value=0.5))
    tight(plan, 30.5)
    assert plan.devices[0].samples == pytest.approx(30.0)
    assert plan.price_error_j == pytest.approx(800.0, rel=1e-6)


def test_a_loose_target_asks_for_nothing_more():
    plan = solve(problem(device(cpu=SINGLE), target=0.2))
    tight(plan, 10.5)
    assert plan.price_error_j == 0.0
    assert plan.devices[0].executed_samples == 10


def test_a_device_without_local_samples():
    empty = device("a", local=(0, 0), cpu=SINGLE)
    plan = solve(problem(empty, device("b", cpu=SINGLE), target=1 / 20))
    # both want the same number: 20 each
    tight(plan, 41.0)
    assert [share.samples for share in plan.devices] == pytest.approx([20.0, 20.0], rel=1e-6)
    assert plan.devices[0].synth_counts == (10, 10)


def test_storage_binds():
    # the first may hold 5 more: 1/15 + 1/D = 2/20 gives D = 30
    plan = solve(problem(device("a", storage=5, cpu=SINGLE), device("b", cpu=SINGLE), target=1 / 20))
    tight(plan, 15 + 30 + 1.0)


def test_time_binds_on_samples():
    # 16 s leave 15 samples to the first; as above
    quick = device("b", cpu=table((1e9, 0.1, 1.0)))
    plan = solve(problem(device("a", cpu=SINGLE), quick, target=1 / 20, round_s=16.0))
    tight(plan, 15 + 30 + 1.0)


def test_an_analytic_clock_fills_the_time():
    # 10 samples in 10 s: 1 s a sample, f = 1 GHz, kappa w f**2 = 1 J
    cpu = AnalyticCpu(0.0, 1e9, 0.0, 0.0, 1e-27, 1e8, 2e9)
    plan = solve(problem(device(cpu=cpu), round_s=11.0))
    tight(plan, 10.5)
    assert [(s.freq_hz, s.samples) for s in plan.devices[0].segments] == [(pytest.approx(1e9), 10)]


def test_an_analytic_clock_stops_at_its_cheapest():
    # P_s = 2 kappa f**3 at 1 GHz; 2 W + 1 W for 1 s a sample; 0.5 s that no clock shortens cost 3 W too
    cpu = AnalyticCpu(0.0, 1e9, 2.0, 0.0, 1e-27, 1e8, 2e9)
    plan = solve(problem(device(cpu=cpu)))
    tight(plan, 30.5)
    assert plan.devices[0].segments[0].freq_hz == pytest.approx(1e9)
    assert plan.devices[0].executed_compute_s == pytest.approx(10.0)


RADIO = Radio("scheduled", gain_over_noise_hz_per_w=1e7, tx_power_max_w=1.0, amplifier_efficiency=0.5)


def test_a_scheduled_upload_takes_the_band_and_the_time():
    # 2 s are left: 1 bit per second and hertz, 0.1 W radiated, 0.2 W drawn
    plan = solve(problem(device(cpu=SINGLE, radio=RADIO, bits=2e6), round_s=12.0, bandwidth_hz=1e6))
    tight(plan, 10.4)
    share = plan.devices[0]
    assert (share.bandwidth_hz, share.upload_s, share.tx_power_w) == pytest.approx((1e6, 2.0, 0.1))


def test_twins_share_the_band():
    # each has 0.5 MHz for 2 s: 2 bits per second and hertz, 3 * 0.05 W radiated, 0.3 W drawn
    twins = [device(name, cpu=SINGLE, radio=RADIO, bits=2e6) for name in "ab"]
    plan = solve(problem(*twins, round_s=12.0, bandwidth_hz=1e6))
    tight(plan, 20 + 2 * 0.6)
    assert [share.bandwidth_hz for share in plan.devices] == pytest.approx([5e5, 5e5], rel=1e-6)
    # mu = -dE/db of one: with y = S/(bs), E = c S/(y eps) (2**y - 1), dE/db = -(c S/(eps b)) (ln2 2**y - (2**y - 1)/y)
    expected = 1e-7 * 2e6 / (0.5 * 5e5) * (np.log(2) * 4 - 3 / 2)
    assert plan.price_bandwidth_j_per_hz == pytest.approx(expected, rel=1e-5)


def test_full_power_where_little_time_is_left():
    # at 1 W the whole band carries log2(11) Mbit/s
    upload_s = 2 / np.log2(11)
    asked = problem(device(cpu=SINGLE, radio=RADIO, bits=2e6), round_s=10 + upload_s * (1 + 1e-9), bandwidth_hz=1e6)
    plan = solve(asked)
    tight(plan, 10 + 2 * upload_s, rel=1e-6)
    assert plan.devices[0].tx_power_w == pytest.approx(1.0, rel=1e-6)


def test_a_radio_with_overhead_ends_early():
    # alone on the band: h(x) = eps W / (c B); W = 0.2 * 1 makes h(x) = 1, x = 1: s = 2e6 ln2 / 1e6
    radio = replace(RADIO, overhead_w=0.2)
    plan = solve(problem(device(cpu=SINGLE, radio=radio, bits=2e6), bandwidth_hz=1e6))
    seconds = 2 * np.log(2)
    tight(plan, 10 + (0.1 * (np.e - 1) / 0.5 + 0.2) * seconds)
    assert plan.devices[0].upload_s == pytest.approx(seconds)


def test_a_fixed_power_by_hand():
    # 0.1 W over 1 MHz: 1 bit per second and hertz: 2 s at 0.1 / 0.5 + 0.3 W
    radio = Radio("fixed_power", gain_over_noise_hz_per_w=1e7, tx_power_w=0.1, amplifier_efficiency=0.5, overhead_w=0.3)
    plan = solve(problem(device(cpu=SINGLE, radio=radio, bits=2e6), bandwidth_hz=1e6))
    tight(plan, 11.0)
    assert (plan.devices[0].upload_s, plan.devices[0].tx_power_w) == pytest.approx((2.0, 0.1))


def test_twins_share_a_link():
    # each holds half of the link: 2e6 bits at 2e6 bit/s take 2 s at 0.3 W, one of them sending at 0.4 / 0.8 W
    radio = Radio("shared_link", link_bits_per_s=2e6, tx_power_w=0.4, amplifier_efficiency=0.8, overhead_w=0.3)
    twins = [device(name, cpu=SINGLE, radio=radio, bits=2e6) for name in "ab"]
    plan = solve(problem(*twins))
    tight(plan, 2 * (10 + 0.6 + 0.5))
    assert [share.upload_s for share in plan.devices] == pytest.approx([2.0, 2.0], rel=1e-6)
    assert plan.devices[0].tx_power_w == 0.4
    # mu = W s**2 / (S/R) = 0.3 * 4 / 1
    assert plan.price_bandwidth_j_per_hz == pytest.approx(1.2, rel=1e-6)


def test_wires_beside_radios_take_no_band():
    plan = solve(problem(device("a", cpu=SINGLE), device("b", cpu=SINGLE, radio=RADIO, bits=2e6), round_s=12.0,
                         bandwidth_hz=1e6))  # fmt: skip
    tight(plan, 10.5 + 10.4)
    assert plan.devices[0].bandwidth_hz == 0.0


def test_batch_borders_move_the_change_of_clock():
    # 5 of 10 samples on the fast clock; borders of batches of 4 lie at 4, 8 and 10: 8 fast ones first, or 6 last
    plan = solve(problem(device(), round_s=16.0), batch_size=4)
    assert [(s.freq_hz, s.samples) for s in plan.devices[0].segments] == [(5e8, 4), (1e9, 6)]
    assert plan.executed_gap == pytest.approx((26 - 25) / 26.5)


def test_a_hundred_classes_and_a_floor():
    curve = LearningCurve(2.0, 0.5, 0.1)
    plan = solve(problem(device(local=(1,) * 100, cpu=SINGLE), target=0.25, learning_curve=curve))
    # 2 x**-0.5 = 0.15: x = 177.8
    assert plan.devices[0].samples == pytest.approx((2 / 0.15) ** 2)
    assert plan.devices[0].executed_samples == 178
    assert max(plan.devices[0].synth_counts) == 1


def test_relative_gap():
    assert relative_gap(101.0, 100.0) == pytest.approx(1 / 101)
    assert relative_gap(99.0, 100.0) == pytest.approx(-0.01)
