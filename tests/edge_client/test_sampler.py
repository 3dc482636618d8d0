"""Polls of a meter, integrated."""

from __future__ import annotations

import threading

import pytest

from edge_client.hardware.interfaces import MeterInfo
from edge_client.hardware.sampler import Sampler


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
    times = [sample.t for sample in sampler._samples if sample.power_w is not None]
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
