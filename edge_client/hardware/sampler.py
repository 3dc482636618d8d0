"""Polls the power meter at a steady rate in a thread of its own, and keeps the samples.

A thread, because a read may start a command (vcgencmd) and must not hold up heartbeats. The clock is CLOCK_MONOTONIC,
the same that the training worker stamps its progress with.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from itertools import islice

from edge_client import accounting
from edge_client.accounting import PowerSample
from edge_client.hardware.interfaces import PowerMeter
from edge_client.protocol.messages import EnergyReading

_KEPT = 360_000  # ten hours at 10 Hz; a longer window counts what fell out as missed


class Sampler:
    """Samples `meter` every `period_s` between start() and stop(); without a meter every reading is unavailable."""

    def __init__(self, meter: PowerMeter | None, period_s: float) -> None:
        self.period_s = period_s
        self._meter = meter
        self._samples: deque[PowerSample] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="power-sampler", daemon=True)

    def start(self) -> None:
        if self._meter is not None:
            self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def energy(self, start: float, end: float, idle_power_w: float | None) -> EnergyReading:
        """The energy between two instants of the monotonic clock."""
        info = self._meter.info if self._meter else None
        samples = self._around(start, end)
        return accounting.integrate(samples, start, end, period_s=self.period_s, info=info, idle_power_w=idle_power_w)

    def power_w(self) -> float | None:
        """The latest sample, unless it is stale."""
        with self._lock:
            last = self._samples[-1] if self._samples else None
        return last.power_w if last and time.monotonic() - last.t < 5 * self.period_s else None

    def forget_before(self, t: float) -> None:
        """Samples before `t` are not needed any more."""
        with self._lock:
            while self._samples and self._samples[0].t < t:
                self._samples.popleft()

    def _around(self, start: float, end: float) -> list[PowerSample]:
        """The samples of the window with some on either side."""
        margin = 20 * self.period_s
        with self._lock:
            first = bisect_left(self._samples, start - margin, key=lambda sample: sample.t)
            found = list(islice(self._samples, first, None))
        return [sample for sample in found if sample.t <= end + margin]

    def _poll(self) -> None:
        assert self._meter is not None
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            before = time.monotonic()
            power_w = self._meter.read_power_w()
            after = time.monotonic()
            with self._lock:
                self._samples.append(PowerSample((before + after) / 2, power_w))
            due = max(due + self.period_s, after)  # a slow read is a missed poll, not a burst afterwards
