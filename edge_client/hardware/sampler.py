"""Polls the meter at a steady rate in a thread of its own, and keeps what it said.

A thread, because a read may start a command (vcgencmd) and must not hold up heartbeats. The clock is CLOCK_MONOTONIC,
the same that the training worker stamps its progress with.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from bisect import bisect_left, bisect_right

from edge_client import accounting, counting, plausible
from edge_client.accounting import PowerSample
from edge_client.counting import CounterSample
from edge_client.hardware.interfaces import Connected, EnergyCounter, Meter
from edge_client.protocol.messages import EnergyReading

_KEPT = 360_000  # ten hours at 10 Hz, 16 bytes each; a longer window counts what fell out as missed
_SPARE = 4096  # dropped together: one move of memory, not one a sample
_NAP_S = 0.25  # how long stop() may have to wait


class Track:
    """Times and values of the polls, by time; a failed one is nan. Two flat arrays: a board's memory is small."""

    def __init__(self) -> None:
        self._times, self._values = array("d"), array("d")
        self._lock = threading.Lock()

    def add(self, t: float, value: float | None) -> None:
        with self._lock:
            self._times.append(t)
            self._values.append(math.nan if value is None else value)
            if len(self._times) > _KEPT + _SPARE:
                self._drop(_SPARE)

    def between(self, start: float, end: float) -> list[tuple[float, float | None]]:
        """The polls from `start` to `end`, both included."""
        with self._lock:
            first, last = bisect_left(self._times, start), bisect_right(self._times, end)
            times, values = self._times[first:last], self._values[first:last]
        return [(t, None if math.isnan(value) else value) for t, value in zip(times, values, strict=True)]

    def forget_before(self, t: float) -> None:
        with self._lock:
            self._drop(bisect_left(self._times, t))

    def _drop(self, count: int) -> None:
        del self._times[:count], self._values[:count]


class Sampler:
    """Samples `meter` every `period_s` between start() and stop(); without a meter every reading is unavailable.

    A meter that has something new less often is polled as often as that, so `period_s` may grow.
    """

    def __init__(self, meter: Meter | None, period_s: float) -> None:
        self.period_s = max(period_s, meter.info.period_s) if meter else period_s
        self._meter = meter
        self._track = Track()
        self._ending = False
        self._thread = threading.Thread(target=self._poll, name="power-sampler", daemon=True)

    @property
    def lag_s(self) -> float:
        """How far readings may be behind what they are about."""
        return self._meter.info.lag_s if self._meter else 0.0

    def start(self) -> None:
        if self._meter is not None:
            self._thread.start()

    def stop(self) -> None:
        self._ending = True
        if self._thread.is_alive():
            self._thread.join()

    def energy(self, start: float, end: float, idle_power_w: float | None) -> EnergyReading:
        """The energy between two instants of the monotonic clock."""
        if self._meter is None:
            return accounting.unavailable(end - start, "none", idle_power_w)
        margin = 20 * self.period_s
        polls = self._track.between(start - margin, end + margin)
        info, period_s = self._meter.info, self.period_s
        if isinstance(self._meter, EnergyCounter):
            counts = [CounterSample(t, value) for t, value in polls]
            return counting.difference(counts, start, end, period_s=period_s, info=info, idle_power_w=idle_power_w)
        if info.source == "measured" and info.period_s == 0:  # a model and a slow meter repeat themselves by right
            polls = plausible.believed(polls)
        samples = [PowerSample(t, value) for t, value in polls]
        return accounting.integrate(samples, start, end, period_s=period_s, info=info, idle_power_w=idle_power_w)

    def power_w(self) -> float | None:
        """Watts at the latest poll, unless it failed or is stale; of a counter the mean over the last few polls."""
        now = time.monotonic()
        recent = self._track.between(now - 5 * self.period_s, now)
        if not isinstance(self._meter, EnergyCounter):
            return recent[-1][1] if recent else None
        good = [(t, energy_j) for t, energy_j in recent if energy_j is not None]
        if len(good) < 2 or good[-1][1] < good[0][1]:
            return None
        (t0, first_j), (t1, last_j) = good[0], good[-1]
        return (last_j - first_j) / (t1 - t0)

    def forget_before(self, t: float) -> None:
        """Samples before `t` are not needed any more."""
        self._track.forget_before(t)

    def _poll(self) -> None:
        meter = self._meter
        assert meter is not None
        read = meter.read_energy_j if isinstance(meter, EnergyCounter) else meter.read_power_w
        if isinstance(meter, Connected):
            meter.open()
        due = time.monotonic()
        while not self._ending:
            before = time.monotonic()
            if due > before:  # asleep, not waiting to be told: that would cost twice as much at each poll
                time.sleep(min(due - before, _NAP_S))
                continue
            value = read()
            after = time.monotonic()
            self._track.add((before + after) / 2, value)
            due = max(due + self.period_s, after)  # a slow read is a missed poll, not a burst afterwards
        if isinstance(meter, Connected):
            meter.close()


def look(meter: Meter, wait_s: float = 3.0, period_s: float = 0.2) -> float | None:
    """Watts once, to show them; waits for a meter that needs a connection or two readings, at most so long."""
    once = Sampler(meter, period_s)
    end = time.monotonic() + wait_s
    once.start()
    try:
        while (power_w := once.power_w()) is None and time.monotonic() < end:
            time.sleep(period_s / 4)
    finally:
        once.stop()
    return power_w
