"""One virtual board: its root, its sensor, its clock, its law, and the worker that it holds to its allowance."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from pathlib import Path

from firmware_profiles.schema import Profile
from tools.boards.cpufreq_tree import Clusters
from tools.boards.faults import Faults, SensorFaults, Strain, battery, strained, true_hz
from tools.boards.files import Replacer
from tools.boards.law import draw_law
from tools.boards.ledger import Ledger
from tools.boards.link import LinkMeter
from tools.boards.processes import Worker
from tools.boards.radio import Radio
from tools.boards.sensors import FIRMWARE, Readout, install_tools, make_sensor
from tools.boards.surroundings import Surroundings

TICK_S = 0.010
SOON_S = 0.004
GULP_CPU_S = 0.005
"""Once continued, a worker may use this much CPU time before it is stopped again, and goes into debt for it: coarse
enough that stopping is cheap, fine enough that a window of seconds holds many gulps on a slow board too."""
SENSOR_S = 0.05
LEDGER_S = 0.1
SLOW_S = 0.5
REST_S = 0.04
"""A board whose worker sleeps is brought up to date this often."""


class VirtualBoard:
    """Everything of a board but its client and its relay. `tick` is called by the governor's thread alone."""

    def __init__(
        self,
        id_: str,
        profile: Profile,
        q_max: float,
        folder: Path,
        seed: int,
        link: LinkMeter,
        faults: Faults | None = None,
        radio: Radio | None = None,
    ) -> None:
        """Makes <folder>/<id> (the root), <folder>/<id>.ledger.jsonl; the same seed and id give the same unit."""
        rng = random.Random(f"{seed}:{id_}:{profile.name}")
        self.id = id_
        self.profile = profile
        self.root = folder / id_
        self.ledger_path = folder / f"{id_}.ledger.jsonl"
        self.faults = faults or Faults()
        self.radio = radio
        self._set_mbm = 3100
        self.strain = Strain()
        self.law = draw_law(profile, q_max, rng)
        if self.faults.ambient_c is not None:
            self.law = dataclasses.replace(self.law, ambient_c=self.faults.ambient_c)
        self.state = self.law.start()
        self.starved_s = 0.0
        self.client_pid: int | None = None
        self.switch_off: Callable[[], object] | None = None
        self.workers: dict[int, Worker] = {}
        self.released = False
        self._resting = self._wanted = self._held = self._off = False
        self._gulp_s = 0.0
        self._link = link

        self.root.mkdir(parents=True, exist_ok=True)
        self._replacer = Replacer(folder / f".{id_}.new")
        readout = Readout(profile.sensor, rng)
        install_tools(profile, self.root, self._replacer)
        self.cpufreq = Clusters(self.root, self._replacer, profile.cpu, self.law.opps_hz)
        self._sensor = make_sensor(profile, self.root, self._replacer, readout, self.faults.sensor_range_j)
        self._sensor_faults = SensorFaults(self.faults, random.Random(f"{seed}:{id_}:faults"))
        self._surroundings = Surroundings(profile, self.root, self._replacer)
        for name in ("proc/pressure", "proc/device-tree", "sys/class/thermal/thermal_zone0"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._replacer.write(self.root / "proc/device-tree/model", profile.model + "\0")
        self._replacer.write(self.root / "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self._pressure = self._replacer.live(self.root / "proc/pressure/cpu")
        self._temperature = self._replacer.live(self.root / "sys/class/thermal/thermal_zone0/temp")
        self._last = time.monotonic()
        self._sensor.show(self.law.idle_w, self.law.voltage(self.true_hz), 0.0)
        self._show_pressure()
        self._show_clock()
        self._show_slow()

        self._ledger = Ledger(
            self.ledger_path,
            {
                "id": id_,
                "profile": profile.name,
                "seed": seed,
                "sensor_gain": readout.gain,
                "law": dataclasses.asdict(self.law),
            },
        )
        self._sensed = self._booked = self._slow = self._last
        self._sensed_j = self._shown_starved_s = 0.0
        self._book(self._last)

    @property
    def true_hz(self) -> float:
        """The clock in force, whatever the kernel shows."""
        return self.law.true_hz(true_hz(self.faults, self.strain, self.cpufreq.freq_hz, self.law.opps_hz))

    def set_power_w(self) -> float:
        """The transmit power that `iw` was told last."""
        text = (self.root / FIRMWARE / "txpower_mbm").read_text(encoding="ascii").strip()
        if text:  # empty for an instant, while iw writes
            self._set_mbm = int(text)
        return 10 ** (self._set_mbm / 1000) / 1e3

    def uplink(self, t: float) -> tuple[float, float]:
        """See link.Uplink; for boards with a radio."""
        assert self.radio is not None
        set_power_w = self.set_power_w()
        return self.radio.bits_per_s(set_power_w, t) / 8, self.radio.drawn_w(set_power_w)

    # ---- time

    def tick(self, now: float) -> float:
        """Account for the time since the last tick, then stop or continue the workers; `now` monotonic seconds.

        Returns the seconds until the next look is due: soon, if a worker will have used up its allowance by then.
        """
        freq_hz = self.true_hz
        written = self.cpufreq.poll()
        dt_s, used_s = now - self._last, self._used_s()
        if dt_s <= 0 or (self._resting and used_s == 0 and not written and dt_s < REST_S):
            return TICK_S
        self._last = now
        before = self.state
        self.state = self.law.step(
            before,
            dt_s,
            used_s,
            self.law.share(freq_hz) * dt_s,
            freq_hz=freq_hz,
            link_s=self._link.drain(dt_s),
            radio_j=self._link.drawn_j(),
        )
        self._strain(dt_s, (self.state.energy_j - before.energy_j) / dt_s)
        # allowance that overflowed while the worker wanted it, at both ends of the interval: this host had no processor
        # free for it, or we came too late to continue it
        wanted, self._wanted = self._wanted, used_s > 0
        lost_s = self.state.idle_s - before.idle_s
        if lost_s > 0:
            self._wanted = any(worker.stopped or worker.wants_to_run() for worker in self.workers.values())
            self.starved_s += lost_s if wanted and self._wanted else 0.0
        self._resting = used_s == 0 and self.state.credit_s > 0
        if written:
            self._show_clock()
        wait_s = self._stop_or_continue(used_s)
        if now - self._sensed >= SENSOR_S:
            self._sense(now)
        if now - self._booked >= LEDGER_S:
            self._book(now)
        if now - self._slow >= SLOW_S:
            self._slow = now
            self._show_slow()
        return wait_s

    def _stop_or_continue(self, used_s: float) -> float:
        """Hold the workers to their allowance; returns the seconds until the next look is due."""
        run = True
        self._gulp_s -= used_s
        if self.state.credit_s <= 0 and not self.released:
            run = self._gulp_s > 0 and not self._held
        elif self._held:
            self._gulp_s = GULP_CPU_S
        self._held = not run
        for worker in self.workers.values():
            if run:
                worker.go_on()
            else:
                worker.stop()
        if self._held or self._resting or not self.workers:
            return TICK_S
        share = self.law.share(self.true_hz)
        return min(TICK_S, max(self.state.credit_s * share / (1.0 - share), self._gulp_s, SOON_S))

    def _used_s(self) -> float:
        total_s = 0.0
        for pid, worker in list(self.workers.items()):
            used_s = worker.used_s()
            if used_s is None:
                self.workers.pop(pid).close()
            else:
                total_s += used_s
        return total_s

    def adopt(self, pids: set[int]) -> None:
        """These are the client's workers now; new ones are counted from here on."""
        for worker in self.workers.values():
            worker.refresh()
        for pid in pids - self.workers.keys():
            try:
                self.workers[pid] = Worker(pid)
            except OSError:
                continue

    def release(self) -> None:
        """Stop nothing any more (the board goes down); accounting goes on."""
        self.released = True
        for worker in self.workers.values():
            worker.go_on()

    def close(self) -> None:
        """Continue what is stopped, write the last line."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()
        self._book(self._last)
        self._ledger.close()
        for file in (self._pressure, self._temperature, *self._sensor.files):
            file.close()
        self._surroundings.close()
        self.cpufreq.close()

    # ---- what can be seen

    def _strain(self, dt_s: float, power_w: float) -> None:
        """Heat and supply act on the clock; what the firmware tells of it changes at once."""
        before = self.strain
        self.strain = strained(self.faults, before, dt_s, self.state.temperature_c, power_w, len(self.law.opps_hz))
        if self.strain.bits != before.bits or self.strain.steps != before.steps:
            self._surroundings.show_limits(self.strain)
            self._show_clock()

    def _sense(self, now: float) -> None:
        dt_s = now - self._sensed
        power_w = (self.state.energy_j - self._sensed_j) / dt_s
        self._sensed, self._sensed_j = now, self.state.energy_j
        if self._sensor_faults.gone(self.state.seconds):
            for file in self._sensor.files:
                file.path.unlink(missing_ok=True)
        elif (shown_w := self._sensor_faults.shown_w(power_w, self.state.seconds)) is not None:
            self._sensor.show(shown_w, self.law.voltage(self.true_hz), dt_s)
        self._surroundings.show_load(self.state.busy_s, self.state.idle_s)
        if self.starved_s != self._shown_starved_s:
            self._show_pressure()

    def _show_pressure(self) -> None:
        """Pressure stall information of the kernel (Documentation/accounting/psi.rst); averages are left at zero."""
        self._shown_starved_s = self.starved_s
        total_us = round(self.starved_s * 1e6)
        line = "avg10=0.00 avg60=0.00 avg300=0.00 total="
        self._pressure.write(f"some {line}{total_us}\nfull {line}0\n")

    def _show_clock(self) -> None:
        if self.profile.name.startswith("raspberry-pi"):
            shown = f"frequency(0)={round(self.true_hz)}\n"
            self._replacer.write(self.root / FIRMWARE / "measure_clock_arm", shown)

    def _show_slow(self) -> None:
        if self.radio is not None:
            signal_dbm = self.radio.signal_dbm(self.set_power_w(), self._last)
            self._surroundings.show_signal(signal_dbm)
        self._temperature.write(f"{round(self.state.temperature_c * 1000)}\n")
        if self.profile.name.startswith("raspberry-pi"):
            self._replacer.write(self.root / FIRMWARE / "measure_temp", f"temp={self.state.temperature_c:.1f}'C\n")

        held = battery(self.faults, self.state.energy_j, self.state.seconds)
        if held is not None:
            self._surroundings.show_battery(held)
            if held.left_j == 0.0 and not self._off:
                self._go_off()

    def _go_off(self) -> None:
        """The battery is empty: everything on the board ends at once."""
        self._off = True
        if self.switch_off is not None:
            self.switch_off()
        for worker in self.workers.values():
            worker.kill()

    def _book(self, now: float) -> None:
        self._booked = now
        state = self.state
        self._ledger.append(
            {
                "t": round(now, 6),
                "true_j": round(state.energy_j, 6),
                "seconds": round(state.seconds, 6),
                "busy_s": round(state.busy_s, 6),
                "starved_s": round(self.starved_s, 6),
                "link_s": round(state.link_s, 6),
                "cpu_s": round(state.cpu_s, 6),
                "freq_hz": self.cpufreq.freq_hz,
                "true_hz": round(self.true_hz),
                "limits": sorted(self.strain.now),
                "temperature_c": round(state.temperature_c, 3),
                "workers": len(self.workers),
            }
        )
