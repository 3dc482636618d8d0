"""What is executed with uploads of its own: clocks change at the nearest end of a batch."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.build import build_fleet
from server.plan.check import violations
from server.plan.plan_io import decode_plan, encode_plan
from server.plan.problem import DevicePlan, Plan, Radio, Shares
from server.plan.random_fleet import RADIO_CHOICES, random_fleet
from server.plan.solve import solve
from server.plan.windows import Windows
from tests.plan.builders import KINDS, device, problem, random_problem

LINK = Radio("shared_link", overhead_w=0.5, link_bits_per_s=100.0)


def two_on_a_link():
    """Both train 10 samples, 1 s and 3 J or 2 s and 2 J each; each upload takes 1 s of the link, and 0.5 W."""
    return problem(device("a", radio=LINK), device("b", radio=LINK), round_s=17.0)


def test_in_a_window_of_a_shared_link():
    # 2 s: half of the link, 1 J of the radio, 0.5 * mu; what is longer than the 3 s planned may wait
    windows = Windows(build_fleet(two_on_a_link()), np.array([3.0, 3.0]), 4.0)
    least = windows.least(np.array([0]), np.array([[0.9, 1.0, 2.0, 3.0, 6.0, 12.0]]))
    at_3 = 1.5 + 4 / 3
    assert least[0] == pytest.approx([np.inf, 0.5 + 4.0, 1.0 + 2.0, at_3, at_3, at_3])


def test_sharing_out_a_link():
    windows = Windows(build_fleet(two_on_a_link()), np.array([2.0, 2.0]), 4.0)
    seconds, band_hz = windows.shared(np.array([3.0, 1.5]))  # a third and two thirds of it
    assert (list(seconds), list(band_hz)) == ([3.0, 1.5], [0.0, 0.0])
    assert windows.shared(np.array([2.9, 1.5])) is None
    # waiting 2 s in a window of 9 costs 1 + 2 J with the price, 9 s cost 4.5 + 4/9 J
    assert list(windows.shared(np.array([9.0, 2.0]))[0]) == [2.0, 2.0]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 32])
def test_a_lone_device_takes_the_best_of_all_borders(batch_size):
    """1 W of a transmitter without overhead on 1 Hz per nat: the joules of s seconds are s*(e**(10/s) - 1)."""
    sender = Radio("scheduled", gain_over_noise_hz_per_w=1.0, tx_power_max_w=1e4, amplifier_efficiency=1.0)
    lone = device("a", radio=sender, bits=10 / np.log(2))
    asked = problem(lone, round_s=17.3, bandwidth_hz=1.0)
    ends = {min(batch, 10) for batch in range(0, 10 + batch_size, batch_size)}
    quick = np.array(sorted(ends | {10 - end for end in ends}))
    window_s = 17.3 - (20 - quick)
    possible = window_s > 10 / np.log(1e4)
    least_j = (20 + quick + window_s * np.expm1(10 / window_s))[possible].min()
    plan = solve(asked, batch_size=batch_size, move_uploads=True)
    assert plan.executed_energy_j == pytest.approx(least_j, rel=1e-9)
    assert solve(asked, batch_size=batch_size).executed_energy_j >= plan.executed_energy_j * (1 - 1e-12)


@pytest.mark.parametrize("model", ["device_mean", "pooled"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_never_costs_more_and_keeps_everything(kind, model):
    for seed in range(6):
        asked = replace(random_problem(seed, 1 + 4 * seed, kind, "mixed", 0.5), accuracy_model=model)
        stay, go = (solve(asked, batch_size=32, move_uploads=moves) for moves in (False, True))
        assert violations(asked, go) == []
        assert go.executed_energy_j <= stay.executed_energy_j * (1 + 1e-12)
        assert (go.energy_j, go.lower_bound_j) == (stay.energy_j, stay.lower_bound_j)
        assert (go.devices.upload_s == stay.devices.upload_s).all()


@pytest.mark.parametrize("radio", RADIO_CHOICES)
def test_the_aims_in_batches_of_32(radio):
    many = solve(random_fleet(1_000, 0, radio, tables=True), batch_size=32, move_uploads=True)
    assert 0 <= many.executed_gap <= 5e-4
    few = solve(random_fleet(20, 0, radio, tables=True), batch_size=32, move_uploads=True)
    assert 0 <= few.executed_gap <= 5e-3


def test_without_a_target_without_a_medium_and_in_other_units():
    plain = replace(random_fleet(5, 1, "wired", tables=True), target_error=None)
    assert solve(plain, batch_size=32, move_uploads=True).executed_gap <= 5e-3
    asked = random_fleet(30, 1, "mixed", tables=True)
    slow = replace(
        asked,
        round_s=1e6 * asked.round_s,
        bandwidth_hz=1e-6 * asked.bandwidth_hz,
        devices=replace(
            asked.devices,
            opps=replace(asked.devices.opps, s_per_sample=1e6 * asked.devices.opps.s_per_sample,
                         j_per_sample=1e6 * asked.devices.opps.j_per_sample),
            radios=replace(asked.devices.radios,
                           gain_over_noise_hz_per_w=1e-6 * asked.devices.radios.gain_over_noise_hz_per_w,
                           link_bits_per_s=1e-6 * asked.devices.radios.link_bits_per_s),
        ),
    )  # fmt: skip
    one, other = (solve(fleet, batch_size=32, move_uploads=True) for fleet in (asked, slow))
    assert other.executed_energy_j == pytest.approx(1e6 * one.executed_energy_j, rel=1e-6)


# ---- what is written, read and checked ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned():
    asked = random_fleet(6, 2, "scheduled", tables=True)
    return asked, solve(asked, batch_size=32, move_uploads=True)


def test_it_survives_its_file(planned):
    asked, plan = planned
    written = encode_plan(plan)
    executed = json.loads(written)["devices"][0]["executed"]
    assert list(executed)[4:] == ["upload_s", "bandwidth_hz", "tx_power_w", "upload_j"]
    again = decode_plan(written)
    assert violations(asked, again) == []
    assert encode_plan(again) == written
    assert encode_plan(Plan.of(plan.record())) == written
    assert "upload_s" not in json.loads(encode_plan(solve(asked)))["devices"][0]["executed"]


def test_some_devices_with_and_some_without_are_refused(planned):
    told = json.loads(encode_plan(planned[1]))
    del told["devices"][2]["executed"]["upload_s"]
    with pytest.raises(ConfigError, match=r"plan\.json: devices\[2\]\.executed: upload_s, bandwidth_hz and upload_j"):
        decode_plan(json.dumps(told).encode())


@pytest.mark.parametrize(
    ("field", "factor", "sentence"),
    [
        ("upload_s", 1.01, "executed_compute_s and upload_s exceed round_s"),
        ("upload_s", 0.5, "executed: upload_j "),
        ("upload_j", 0.99, "executed: upload_j "),
        ("tx_power_w", 1.01, "executed: tx_power_w "),
        ("bandwidth_hz", 1.5, "executed: the devices take "),
        ("bandwidth_hz", -1.0, "executed: a number is negative or not finite"),
        ("bandwidth_hz", 0.2, "executed: the upload needs "),
    ],
)
def test_a_broken_upload_is_named(planned, field, factor, sentence):
    asked, plan = planned
    shares: list[DevicePlan] = list(plan.devices)
    for i, share in enumerate(shares):
        wrong = replace(share.executed_upload, **{field: factor * getattr(share.executed_upload, field)})
        shares[i] = replace(share, executed_upload=wrong)
    found = violations(asked, replace(plan, devices=Shares.of(shares)))
    assert any(sentence in told for told in found), found


def test_a_total_with_the_continuous_uploads_is_named(planned):
    asked, plan = planned
    wrong = float(plan.devices.executed.compute_j.sum() + plan.devices.upload_j.sum())
    assert any(
        told.startswith("executed_energy_j") for told in violations(asked, replace(plan, executed_energy_j=wrong))
    )
