"""Polls of a meter, integrated."""

from __future__ import annotations

import math
import threading

import pytest

from edge_client.hardware import sampler as sampling
from edge_client.hardware.interfaces import MeterInfo
from edge_client.hardware.sampler import Sampler, Track


class Steps:
    """A meter that tells what it is given, then fails."""

    info = MeterInfo("steps", "board", 0.01)

    def __init__(self, values: list[float | None]) -> None:
        self._values = list(values)
        self.empty = threading.Event()

    def read_power_w(self) -> float | None:
        if not self._values:
            self.empty.set()
            return None
        return self._values.pop(0)


def test_the_sampler_integrates_what_the_meter_says() -> None:
    meter = Steps([2.0] * 20)
    sampler = Sampler(meter, 0.002)
    sampler.start()
    assert meter.empty.wait(10)
    sampler.stop()
    times = [t for t, power_w in sampler._track.between(0.0, math.inf) if power_w is not None]
    assert times == sorted(times)
    found = sampler.energy(times[0], times[-1], 0.5)
    assert found.energy_j == pytest.approx(2.0 * (times[-1] - times[0]))
    assert found.meter == "steps"
    assert found.idle_power_w == 0.5
    sampler.forget_before(times[10])
    assert sampler.energy(times[10], times[-1], None).samples == 10
    assert sampler.power_w() is None  # the last reads failed


def test_without_a_meter_nothing_is_known() -> None:
    sampler = Sampler(None, 0.01)
    sampler.start()
    sampler.stop()
    assert sampler.energy(0, 1, 2.0).energy_j is None
    assert sampler.energy(0, 1, 2.0).source == "unavailable"
    assert sampler.power_w() is None


class Counts:
    """A counter that goes up by 0.5 J a poll, after a connection."""

    info = MeterInfo("counts", "cpu_package", 0.02)

    def __init__(self, polls: int) -> None:
        self._left = polls
        self.energy_j = 0.0
        self.connection: list[str] = []
        self.empty = threading.Event()

    def open(self) -> None:
        self.connection.append("open")

    def close(self) -> None:
        self.connection.append("close")

    def read_energy_j(self) -> float | None:
        if self._left == 0:
            self.empty.set()
            return None
        self._left -= 1
        self.energy_j += 0.5
        return self.energy_j


def test_a_counter_is_subtracted_not_integrated() -> None:
    meter = Counts(20)
    sampler = Sampler(meter, 0.002)
    sampler.start()
    assert meter.empty.wait(10)
    sampler.stop()
    assert meter.connection == ["open", "close"]
    times = [t for t, energy_j in sampler._track.between(0.0, math.inf) if energy_j is not None]
    found = sampler.energy(times[0], times[-1], None)
    assert found.energy_j == pytest.approx(19 * 0.5, rel=1e-12)
    assert (found.boundary, found.samples) == ("cpu_package", 20)


def test_watts_of_a_counter_are_those_of_the_last_polls() -> None:
    meter = Counts(1000)
    sampler = Sampler(meter, 0.001)
    assert sampler.power_w() is None
    sampler.start()
    while meter.energy_j < 5:
        meter.empty.wait(0.001)
    power_w = sampler.power_w()
    sampler.stop()
    assert power_w is not None
    assert 0 < power_w <= 0.5 / 0.001 * 5


def test_a_slow_meter_is_polled_as_often_as_it_has_something_new() -> None:
    meter = Steps([])
    meter.info = MeterInfo("slow", "wall", 0.05, period_s=1.0)
    assert Sampler(meter, 0.1).period_s == 1.0
    assert Sampler(meter, 2.0).period_s == 2.0


def test_what_was_polled_is_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_KEPT", 4)
    monkeypatch.setattr(sampling, "_SPARE", 2)
    track = Track()
    for t in range(7):
        track.add(t, None if t == 5 else 10.0 * t)
    assert track.between(0, 9) == [(2, 20.0), (3, 30.0), (4, 40.0), (5, None), (6, 60.0)]
    assert track.between(3, 4) == [(3, 30.0), (4, 40.0)]
    track.forget_before(6)
    assert track.between(0, 9) == [(6, 60.0)]
