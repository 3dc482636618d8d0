"""Whole samples of small fleets are the best there are."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from server.plan.boards import Boards
from server.plan.build import build_fleet
from server.plan.check import violations
from server.plan.pairs import exchanged
from server.plan.random_fleet import random_fleet
from server.plan.solve import solve


def small(count: int, seed: int, model: str):
    """Few devices with few samples, so that all of their choices can be gone through."""
    asked = random_fleet(count, seed, "wired", tables=True)
    devices = replace(
        asked.devices,
        local_counts=asked.devices.local_counts // 8,
        storage_samples=asked.devices.storage_samples // 8 + 5,
        opps=replace(
            asked.devices.opps,
            s_per_sample=8 * asked.devices.opps.s_per_sample,
            j_per_sample=8 * asked.devices.opps.j_per_sample,
        ),
    )
    return replace(asked, devices=devices, accuracy_model=model, target_error=0.45 if model == "device_mean" else 0.42)


@pytest.mark.parametrize("model", ["device_mean", "pooled"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2])
def test_no_other_samples_cost_less(count, seed, model):
    asked = small(count, seed, model)
    plan, fleet = solve(asked, batch_size=16), build_fleet(asked)
    boards = Boards(fleet, plan.devices.upload_s, 16)
    rows, least_j = np.arange(count), np.inf
    choices = [range(low, high + 1) for low, high in zip(boards.least, boards.most, strict=True)]
    for samples in itertools.product(*choices):
        if fleet.mean_error(np.array(samples, dtype=float)) <= asked.target_error:
            least_j = min(least_j, float(boards.joules(rows, np.array(samples)[:, None]).sum()))
    assert violations(asked, plan) == []
    assert plan.devices.executed.compute_j.sum() == pytest.approx(least_j, rel=1e-9)


def test_three_devices_exchange_until_nothing_is_gained():
    asked = small(3, 1, "device_mean")
    plan, fleet = solve(asked, batch_size=16), build_fleet(asked)
    boards = Boards(fleet, plan.devices.upload_s, 16)
    allowed = 3 * asked.target_error
    most = exchanged(boards, boards.most, allowed)  # from the most accurate of all
    joules = boards.joules(np.arange(3), np.stack([most, plan.devices.executed.samples], axis=1)).sum(axis=0)
    assert joules[0] == pytest.approx(joules[1], rel=2e-3)
    assert (exchanged(boards, most, allowed) == most).all()


def test_many_devices_are_left_as_they_are():
    asked = random_fleet(41, 0, "wired", tables=True)
    fleet = build_fleet(asked)
    boards = Boards(fleet, solve(asked).devices.upload_s, 32)
    assert exchanged(boards, boards.most, np.inf) is boards.most
