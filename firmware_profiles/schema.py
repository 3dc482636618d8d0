"""What is known of a board: a frozen value per TOML file, every coefficient with where it comes from.

`measured`: read off published or own measurements; `datasheet`: a vendor's or driver's own number; `assumed`: nobody
measured it here, replace it by calibration before you rely on it. A profile describes a board type, never one unit.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import msgspec

Provenance = Literal["measured", "datasheet", "assumed"]
SensorKind = Literal["ina3221-jetpack4", "ina3221-hwmon", "ina219-hwmon", "pmic-vcgencmd", "rapl"]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused."""


class Number(_Strict, frozen=True, kw_only=True):
    """One coefficient, in the unit that its field's name ends with; `residual` is relative."""

    value: float
    provenance: Provenance
    source: Annotated[str, msgspec.Meta(min_length=1)]
    date: str | None = None
    residual: float | None = None


class Table(_Strict, frozen=True, kw_only=True):
    """A list of coefficients with one provenance."""

    value: tuple[float, ...]
    provenance: Provenance
    source: Annotated[str, msgspec.Meta(min_length=1)]
    date: str | None = None


def _require(ok: bool, sentence: str) -> None:
    if not ok:
        raise ValueError(sentence)


class Cpu(_Strict, frozen=True, kw_only=True):
    """The processor and its clock.

    `opps_hz` are the operating points as the kernel lists them, ascending, `voltage_v` the core voltage at each.
    `true_floor_hz`: below it the firmware accepts a clock and runs at this one. Time per sample is
    tau(f) = tau(f_max) * (stall_share + (1 - stall_share) * f_max / f): `stall_share` of it waits for memory.
    `relative_speed`: samples a second at the top clock, Raspberry Pi 4B = 1. `clusters`: cores of each cpufreq policy,
    left out: one policy of all. `pinning`: how the clock is set, by the governor `userspace`, or by min = max where the
    driver has none and lists no clocks.
    """

    cores: Annotated[int, msgspec.Meta(ge=1)]
    opps_hz: Table
    voltage_v: Table
    stall_share: Number
    relative_speed: Number
    governor: Literal["ondemand", "schedutil", "performance", "powersave"] = "ondemand"
    true_floor_hz: Number | None = None
    clusters: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] = ()
    pinning: Literal["userspace", "limits"] = "userspace"

    def __post_init__(self) -> None:
        fits = not self.clusters or sum(self.clusters) == self.cores
        _require(fits, f"clusters: hold {sum(self.clusters)} cores; give as many as cores, {self.cores}")
        opps, volts = self.opps_hz.value, self.voltage_v.value
        _require(len(opps) >= 2, f"opps_hz: has {len(opps)} values; give at least two")
        _require(all(a < b for a, b in pairwise(opps)), "opps_hz: is not ascending; sort it")
        _require(opps[0] >= 1e7 and opps[-1] <= 1e10, "opps_hz: lies outside 10 MHz to 10 GHz; give hertz")
        _require(len(volts) == len(opps), f"voltage_v: has {len(volts)} values; give one for each of {len(opps)} OPPs")
        _require(all(0.3 <= v <= 2.0 for v in volts), "voltage_v: lies outside 0.3 to 2; give volts")
        _require(all(a <= b for a, b in pairwise(volts)), "voltage_v: falls as the clock rises; sort it")
        _require(0 <= self.stall_share.value < 1, "stall_share.value: must be a share; give a number in [0, 1)")
        _require(self.relative_speed.value > 0, "relative_speed.value: must be above 0; Raspberry Pi 4B is 1")


class Power(_Strict, frozen=True, kw_only=True):
    """Whole-board watts: idle, and with all cores training at the top clock and `reference_c`.

    `leakage_w` of the full load is leakage at `reference_c` and grows e-fold per `leakage_scale_c`; `converter_loss` is
    the share of the load lost in the converters at full load (it grows with the square of the load); `spread` is the
    relative standard deviation between units.
    """

    idle_w: Number
    full_w: Number
    leakage_w: Number
    leakage_scale_c: Number
    reference_c: Number
    converter_loss: Number
    spread: Number

    def __post_init__(self) -> None:
        _require(self.idle_w.value > 0, "idle_w.value: must be above 0; give watts")
        _require(self.full_w.value > self.idle_w.value, "full_w.value: must be above idle_w; give watts at full load")
        _require(self.full_w.value <= 100, "full_w.value: is above 100; give watts")
        for name in ("leakage_w", "converter_loss", "spread"):
            _require(getattr(self, name).value >= 0, f"{name}.value: must not be negative")
        _require(self.leakage_scale_c.value > 0, "leakage_scale_c.value: must be above 0; give degrees Celsius")


class Thermal(_Strict, frozen=True, kw_only=True):
    """One thermal node: T settles at ambient_c + resistance_c_per_w * P within a few `time_constant_s`."""

    ambient_c: Number
    resistance_c_per_w: Number
    time_constant_s: Number

    def __post_init__(self) -> None:
        _require(self.resistance_c_per_w.value >= 0, "resistance_c_per_w.value: must not be negative")
        _require(self.time_constant_s.value > 0, "time_constant_s.value: must be above 0; give seconds")


class Sensor(_Strict, frozen=True, kw_only=True):
    """The board's power sensor: its files (`kind`), and how far it is off.

    `gain_error` and `noise_w` are standard deviations (relative; watts), `step_w` the quantisation. Where the sensor
    misses a part of the board (boundary_slope, boundary_w): board watts = slope * reading + boundary_w.
    """

    kind: SensorKind
    gain_error: Number
    noise_w: Number
    step_w: Number
    boundary_slope: Number | None = None
    boundary_w: Number | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.gain_error.value < 0.5, "gain_error.value: must be a small share; give a number in [0, 0.5)")
        _require(self.noise_w.value >= 0, "noise_w.value: must not be negative")
        _require(self.step_w.value > 0, "step_w.value: must be above 0; give watts")


class Link(_Strict, frozen=True, kw_only=True):
    """The way to the server: a fixed rate each way, and the watts drawn above idle while bytes flow."""

    kind: Literal["wifi", "ethernet"]
    rate_bytes_per_s: Number
    power_w: Number

    def __post_init__(self) -> None:
        _require(self.rate_bytes_per_s.value >= 1000, "rate_bytes_per_s.value: is below 1000; give bytes per second")
        _require(self.power_w.value >= 0, "power_w.value: must not be negative")


class Profile(_Strict, frozen=True, kw_only=True):
    """A board type. `name` is the file's name without .toml, `model` what its device tree says."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]*$")]
    model: str
    cpu: Cpu
    power: Power
    thermal: Thermal
    sensor: Sensor
    link: Link
