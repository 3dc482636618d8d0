"""The law of a virtual board: how much work a clock allows and how many watts it takes. Pure; no files, no processes.

Speed. tau(f) = a + w/f seconds a sample; at frequency f the training worker may use q(f) = q_max * tau(f_max)/tau(f)
CPU-seconds per second. The allowance is a bucket of board-seconds: time fills it (up to CAP_S), a CPU-second used costs
1/q(f) of it, and it may go into debt, because the governor looks only every few milliseconds and must not give away
what was used meanwhile. What overflows the full bucket is the board's idle time; all other time it was busy. So
busy seconds + idle seconds = seconds, and a worker that its governor has stopped counts as busy: a real board would be
computing just then.

Power. P = P_idle + u * (P_busy(f, T) - P_idle) + P_link while bytes flow, u = busy share. P_busy is the load behind
the converter, rest + C V(f)^2 f + leakage(V, T), plus a loss that grows with the square of that load. It is not the
P_s + kappa f^3 which the planner fits: the planner must find its way on a board it does not know.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property

from firmware_profiles.schema import Profile

CAP_S = 0.1
"""Unspent allowance is capped here, in seconds of the board's own time."""


@dataclass(frozen=True)
class BoardState:
    """What has happened so far: joules, seconds and CPU-seconds since the start, all cumulative, and the bucket."""

    temperature_c: float
    credit_s: float = CAP_S
    seconds: float = 0.0
    busy_s: float = 0.0
    idle_s: float = 0.0
    link_s: float = 0.0
    cpu_s: float = 0.0
    energy_j: float = 0.0


@dataclass(frozen=True)
class BoardLaw:
    """The parameters of one unit. `opps_hz` ascending, `voltage_v` at each, watts unless named otherwise."""

    q_max: float
    opps_hz: tuple[float, ...]
    voltage_v: tuple[float, ...]
    stall_share: float
    true_floor_hz: float
    idle_load_w: float
    capacitance_w_per_v2hz: float
    leakage_w: float
    leakage_scale_c: float
    reference_c: float
    converter_loss_per_w: float
    link_w: float
    ambient_c: float
    resistance_c_per_w: float
    time_constant_s: float

    # ---- speed

    def true_hz(self, freq_hz: float) -> float:
        """The clock the board really runs at when its kernel says `freq_hz`."""
        return max(freq_hz, self.true_floor_hz)

    def relative_tau(self, freq_hz: float) -> float:
        """tau(f) / tau(f_max) >= 1."""
        return self.stall_share + (1.0 - self.stall_share) * self.opps_hz[-1] / self.true_hz(freq_hz)

    def share(self, freq_hz: float) -> float:
        """q(f): CPU-seconds that the worker may use per second."""
        return self.q_max / self.relative_tau(freq_hz)

    # ---- power

    def voltage(self, freq_hz: float) -> float:
        """Core voltage at a clock: the table, linear in between."""
        freq_hz = self.true_hz(freq_hz)
        k = bisect_left(self.opps_hz, freq_hz)
        if k == 0:
            return self.voltage_v[0]
        if k == len(self.opps_hz):
            return self.voltage_v[-1]
        (f0, f1), (v0, v1) = self.opps_hz[k - 1 : k + 1], self.voltage_v[k - 1 : k + 1]
        return v0 + (v1 - v0) * (freq_hz - f0) / (f1 - f0)

    @cached_property
    def idle_w(self) -> float:
        """P_idle."""
        return self._behind_converter(self.idle_load_w)

    def busy_w(self, freq_hz: float, temperature_c: float) -> float:
        """P_busy(f, T)."""
        volts = self.voltage(freq_hz)
        switching_w = self.capacitance_w_per_v2hz * volts**2 * self.true_hz(freq_hz)
        heat = math.exp((temperature_c - self.reference_c) / self.leakage_scale_c)
        leaking_w = self.leakage_w * volts / self.voltage_v[-1] * heat
        return self._behind_converter(self.idle_load_w + switching_w + leaking_w)

    def _behind_converter(self, load_w: float) -> float:
        return load_w + self.converter_loss_per_w * load_w**2

    # ---- time

    def start(self) -> BoardState:
        """A board that has been idle for long."""
        return BoardState(temperature_c=self.ambient_c + self.resistance_c_per_w * self.idle_w)

    def step(
        self,
        state: BoardState,
        dt_s: float,
        used_s: float,
        allowed_s: float,
        *,
        freq_hz: float,
        link_s: float = 0.0,
        radio_j: float = 0.0,
    ) -> BoardState:
        """The state after `dt_s` seconds at `freq_hz`, in which the worker used `used_s` of `allowed_s` CPU-seconds.

        `allowed_s` is share(freq_hz) * dt_s; `link_s` <= dt_s are the seconds in which bytes flowed, `radio_j` what
        sending drew above the link's own watts in them.
        """
        if dt_s <= 0.0:
            return state
        credit_s = state.credit_s + dt_s - used_s / allowed_s * dt_s
        idle_s = min(max(credit_s - CAP_S, 0.0), dt_s)
        busy_s = dt_s - idle_s
        above_idle_w = self.busy_w(freq_hz, state.temperature_c) - self.idle_w
        energy_j = self.idle_w * dt_s + above_idle_w * busy_s + self.link_w * link_s + radio_j
        settled_c = self.ambient_c + self.resistance_c_per_w * energy_j / dt_s
        fade = math.exp(-dt_s / self.time_constant_s)
        return BoardState(
            temperature_c=settled_c + (state.temperature_c - settled_c) * fade,
            credit_s=credit_s - idle_s,
            seconds=state.seconds + dt_s,
            busy_s=state.busy_s + busy_s,
            idle_s=state.idle_s + idle_s,
            link_s=state.link_s + link_s,
            cpu_s=state.cpu_s + used_s,
            energy_j=state.energy_j + energy_j,
        )


def nominal_law(profile: Profile, q_max: float) -> BoardLaw:
    """The profile's own numbers: P(idle) and P(f_max, reference_c) come out as the profile states them."""
    cpu, power, thermal, link = profile.cpu, profile.power, profile.thermal, profile.link
    full_w, loss = power.full_w.value, power.converter_loss.value
    full_load_w = full_w * (1.0 - loss)
    loss_per_w = full_w * loss / full_load_w**2
    idle_w = power.idle_w.value
    idle_load_w = (math.sqrt(1 + 4 * loss_per_w * idle_w) - 1) / (2 * loss_per_w) if loss_per_w else idle_w
    switching_w = full_load_w - idle_load_w - power.leakage_w.value
    return BoardLaw(
        q_max=q_max,
        opps_hz=cpu.opps_hz.value,
        voltage_v=cpu.voltage_v.value,
        stall_share=cpu.stall_share.value,
        true_floor_hz=cpu.true_floor_hz.value if cpu.true_floor_hz else 0.0,
        idle_load_w=idle_load_w,
        capacitance_w_per_v2hz=switching_w / (cpu.voltage_v.value[-1] ** 2 * cpu.opps_hz.value[-1]),
        leakage_w=power.leakage_w.value,
        leakage_scale_c=power.leakage_scale_c.value,
        reference_c=power.reference_c.value,
        converter_loss_per_w=loss_per_w,
        link_w=link.power_w.value,
        ambient_c=thermal.ambient_c.value,
        resistance_c_per_w=thermal.resistance_c_per_w.value,
        time_constant_s=thermal.time_constant_s.value,
    )


def draw_law(profile: Profile, q_max: float, rng: random.Random) -> BoardLaw:
    """One unit of this type: no two boards draw the same watts. Leakage spreads most, as it does in silicon."""
    nominal, spread = nominal_law(profile, q_max), profile.power.spread.value

    def about(value: float, relative: float) -> float:
        return value * (1.0 + min(max(rng.gauss(0.0, relative), -2 * relative), 2 * relative))

    return replace(
        nominal,
        idle_load_w=about(nominal.idle_load_w, spread),
        capacitance_w_per_v2hz=about(nominal.capacitance_w_per_v2hz, spread),
        leakage_w=about(nominal.leakage_w, 5 * spread),
        converter_loss_per_w=about(nominal.converter_loss_per_w, 2 * spread),
        link_w=about(nominal.link_w, spread),
    )
