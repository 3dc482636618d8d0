"""Devices and shares as columns, and back again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.errors import ConfigError
from server.plan.columnar import ragged_joined, ragged_rows, row_of, starts
from server.plan.columns import Levels
from server.plan.problem import AnalyticCpu, Devices, OppTable, Plan, Radio, Shares
from server.plan.solve import solve
from tests.plan.builders import device, problem, random_problem, table

CURVE = AnalyticCpu(0.5, 5e8, 2.0, 1.0, 1e-27, 1e8, 2e9)
RADIO = Radio("scheduled", gain_over_noise_hz_per_w=1e7, tx_power_max_w=0.3, levels_w=(0.1, 0.2))
THREE = (device("a"), device("b", local=(1, 2), cpu=CURVE, radio=RADIO), device("c", cpu=table((1e9, 3.0, 7.0))))


def same(one, other) -> bool:
    """Equality of devices, whose arrays a dataclass cannot compare."""
    if isinstance(one.cpu, OppTable):
        tables = [(list(cpu.freq_hz), list(cpu.s_per_sample), list(cpu.j_per_sample)) for cpu in (one.cpu, other.cpu)]
        assert tables[0] == tables[1]
        one, other = (replace(each, cpu=replace(CURVE, power_idle_w=each.cpu.power_idle_w)) for each in (one, other))
    assert list(one.local_counts) == list(other.local_counts)
    return replace(one, local_counts=None) == replace(other, local_counts=None)


def test_devices_come_back_as_they_were():
    columns = Devices.of(THREE)
    assert len(columns) == 3
    assert all(same(one, other) for one, other in zip(columns, THREE, strict=True))
    assert same(columns[-1], THREE[2])
    assert [each.id for each in columns[1:]] == ["b", "c"]
    with pytest.raises(IndexError):
        columns[3]


def test_columns_by_hand():
    columns = Devices.of(THREE)
    assert columns.local_samples.tolist() == [10, 3, 10]
    assert columns.tabled.tolist() == [True, False, True]
    assert columns.opps.start.tolist() == [0, 2, 2, 3]
    assert columns.opps.j_per_sample.tolist() == [2.0, 3.0, 7.0]
    assert columns.levels.start.tolist() == [0, 0, 2, 2]
    assert columns.radios.of_kind("wired").tolist() == [True, False, True]
    assert np.isnan(columns.laws.kappa_w_per_hz3).tolist() == [True, False, True]


def test_some_devices_and_all_of_two_lists():
    columns = Devices.of(THREE)
    some = columns.take(np.array([2, 1]))
    assert [each.id for each in some] == ["c", "b"]
    assert same(some[0], THREE[2])
    both = Devices.joined([some, columns])
    assert all(same(one, other) for one, other in zip(both, (THREE[2], THREE[1], *THREE), strict=True))


def test_what_has_no_place_in_columns_is_refused():
    with pytest.raises(ConfigError, match="x: local_counts: a count is above 2147483647"):
        Devices.of([device("x", local=(2**31,))])
    with pytest.raises(ConfigError, match=r"x: storage_samples: 1\.5 is not a whole number"):
        Devices.of([device("x", storage=1.5)])


def test_plans_come_back_as_they_were():
    plan = solve(random_problem(1, 4, "mixed", "tables", 0.5), batch_size=8)
    record = plan.record()
    assert Plan.of(record).record() == record
    assert plan.device(2) == record.devices[2]
    some = plan.devices.take(np.array([3, 0]))
    assert tuple(some) == (record.devices[3], record.devices[0])
    assert tuple(Shares.joined([some, plan.devices])) == (record.devices[3], record.devices[0], *record.devices)


def test_shares_of_unequal_classes_are_refused():
    shares = [replace(share, synth_counts=share.synth_counts[: 2 - i]) for i, share in enumerate(solve(problem(
        device("a"), device("b"))).devices)]  # fmt: skip
    with pytest.raises(ConfigError, match="b: synth_counts: 1 classes, others have 2"):
        Shares.of(shares)


def test_ragged_tables_by_hand():
    levels = Levels(starts([2, 0, 1]), np.array([1.0, 2.0, 3.0]))
    assert levels.start.tolist() == [0, 2, 2, 3]
    assert row_of(levels.start).tolist() == [0, 0, 2]
    picked = ragged_rows(levels, np.array([2, 0, 1]))
    assert (picked.start.tolist(), picked.watts.tolist()) == ([0, 1, 3, 3], [3.0, 1.0, 2.0])
    twice = ragged_joined([levels, picked])
    assert (twice.start.tolist(), twice.watts.tolist()) == ([0, 2, 2, 3, 4, 6, 6], [1.0, 2.0, 3.0, 3.0, 1.0, 2.0])
