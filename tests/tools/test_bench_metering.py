"""The bench of metering: every board it names gives its meter, and costs are CPU seconds over seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.hardware.interfaces import EnergyCounter
from tools import bench_metering
from tools.bench_metering import BOARDS, Cost, Nothing, captured, line, measure


@pytest.mark.parametrize(("kind", "tree"), BOARDS)
def test_every_board_has_the_meter_that_is_measured(tmp_path: Path, kind: str, tree: str) -> None:
    meter = captured(kind, tree, tmp_path)
    read = meter.read_energy_j if isinstance(meter, EnergyCounter) else meter.read_power_w
    first = read()
    while (second := read()) is None:  # a counter and a load need some time to move
        pass
    assert second != 0
    assert first is None or first >= 0


def test_a_share_is_cpu_seconds_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_s = iter((10.0, 10.5))
    monkeypatch.setattr(bench_metering, "cpu_s", lambda: next(cpu_s))
    monotonic = iter((100.0, 200.0))
    monkeypatch.setattr(bench_metering.time, "monotonic", lambda: next(monotonic, 200.0))
    monkeypatch.setattr(bench_metering.Sampler, "start", lambda self: None)
    slept: list[float] = []
    cost = measure(Nothing(), "(nothing)", "", 10.0, 100.0, slept.append)
    assert cost == Cost("(nothing)", "", 10.0, 0.005, 1000, 0)
    assert slept == [2.0, 100.0]
    assert line(cost) == "(nothing)                            10       0.500%      0    1000"
