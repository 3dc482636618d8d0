"""The processor clock through the kernel's cpufreq files.

Source: Documentation/admin-guide/pm/cpufreq.rst. Frequencies there are in kHz. Policies are set, not CPUs: a policy is
a group of CPUs that share a clock. With the `userspace` governor the clock is written to `scaling_setspeed`; without it
(intel_pstate in active mode has none) it is pinned by min = max. min may never exceed max, so going up max is written
first, and going down min.

Limits that are in force when the client starts are the owner's (or nvpmodel's): operating points beyond them are not
offered, and under `userspace` they are not touched: not put back either, for what is read there is also what cooling
allows at the moment, and written back it would stay the limit of a board that is cool again.

A board may have several policies with tables of their own (an Orin Nano's two clusters). Each is set to its point
nearest to the request; one whose CPUs are all off is left alone. Where the trainer is bound to some CPUs, only their
policies are set: the others stay the owner's.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from edge_client.errors import HardwareError
from edge_client.hardware.interfaces import ClockReading
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.vcgencmd import Vcgencmd

log = logging.getLogger(__name__)

_BASE = "sys/devices/system/cpu/cpufreq"
_KNOB = "cpufreq"
_LIMITS = ("scaling_min_freq", "scaling_max_freq")
_NAMES = ("scaling_governor", "scaling_setspeed", *_LIMITS)
_STEPS = 5  # operating points offered where the driver has no table
_RATIO_KHZ = 100_000  # multiples of which an x86 processor runs at: intel_pstate rounds any other request up to one


def online(fs: SysFs, policy: str) -> bool:
    """Whether a policy has a CPU that runs. The kernel keeps the folder of one whose CPUs are all off (an Orin Nano's
    second cluster at 7 W): it then names no CPU, or answers every read with EBUSY, and takes nothing."""
    path = f"{_BASE}/{policy}/affected_cpus"
    return bool(fs.read(path)) or fs.trouble(path) == os.strerror(errno.ENOENT)


class CpuFreqPolicies:
    """All cpufreq policies of a board together."""

    def __init__(
        self,
        fs: SysFs,
        settings: SettingsFile,
        firmware: Vcgencmd | None = None,
        cpus: Collection[int] | None = None,
    ) -> None:
        """`cpus`: those that the trainer is bound to; None: any."""
        self._fs = fs
        self._settings = settings
        self._firmware = firmware
        self._cpus = None if cpus is None else frozenset(cpus)
        self._targets_hz: dict[str, float] = {}

    def available_hz(self) -> tuple[float, ...]:
        """Operating points of all policies within their present limits, ascending; empty where none can be set."""
        policies = self._policies()
        if not policies or not all(self._can_write(policy) for policy in policies):
            return ()
        return tuple(sorted({hz for policy in policies for hz in self._points(policy)}))

    @contextmanager
    def hold(self, freq_hz: float) -> Iterator[None]:
        """Pin every policy to its point nearest to `freq_hz`; raises HardwareError where a write is refused.

        Nested holds are not supported: the inner one would restore too early.
        """
        policies = self._policies()
        saved = {f"{policy}/{name}": value for policy in policies for name, value in self._now(policy).items()}
        self._settings.save(_KNOB, saved)
        try:
            self.aim(freq_hz)
            for policy in policies:
                self._pin(policy)
            yield
        finally:
            self._targets_hz = {}
            self.restore()

    def read(self, requested_hz: float) -> ClockReading:
        """What is in force: of several policies the one that is furthest from what it was to be set to.

        A policy whose table lacks the request stands at another clock by right, so what it is off by is given in parts
        of the request: 1.2 times its own setting reads as 1.2 times `requested_hz`. A request of 0 is none: the highest
        clock is read.

        Verified by the firmware's own counter where the board has one: a Raspberry Pi's cpufreq files repeat the
        request. Elsewhere by `cpuinfo_cur_freq`, which the driver reads from the hardware.
        """
        accepted = self._furthest("scaling_cur_freq", requested_hz)
        if self._firmware is not None:
            verified = self._firmware.arm_clock_hz()
        else:
            verified = self._furthest("cpuinfo_cur_freq", requested_hz)
        return ClockReading(requested_hz=requested_hz, accepted_hz=accepted, verified_hz=verified)

    def restore(self) -> None:
        """Put back what the settings file holds; also after a crash. Without one, nothing is done."""
        held = self._settings.load().get(_KNOB)
        if held is None:
            return
        complete = True
        for policy in sorted({key.split("/")[0] for key in held}):
            values = {name: held[key] for name in _NAMES if (key := f"{policy}/{name}") in held}
            try:
                self._put_back(f"{_BASE}/{policy}", values)
            except HardwareError as error:
                complete = False
                log.error("the clock could not be restored: %s", error)
        if complete:
            self._settings.forget(_KNOB)

    # ---- one policy ----

    def _policies(self) -> list[str]:
        names = [path.rsplit("/", 1)[1] for path in self._fs.glob(f"{_BASE}/policy*")]
        if self._cpus is not None:
            return [name for name in names if self._cpus & self._members(name)]
        return [name for name in names if online(self._fs, name)]

    def _members(self, policy: str) -> frozenset[int]:
        listed = (self._fs.read(f"{_BASE}/{policy}/affected_cpus") or "").split()
        return frozenset(int(cpu) for cpu in listed if cpu.isdigit())

    def _governors(self, policy: str) -> list[str]:
        return (self._fs.read(f"{_BASE}/{policy}/scaling_available_governors") or "").split()

    def _can_write(self, policy: str) -> bool:
        userspace = "userspace" in self._governors(policy)
        names = ("scaling_governor", "scaling_setspeed") if userspace else ("scaling_min_freq", "scaling_max_freq")
        return all(self._fs.writable(f"{_BASE}/{policy}/{name}") for name in names)

    def _points(self, policy: str) -> list[float]:
        low, high = self._number(policy, "scaling_min_freq"), self._number(policy, "scaling_max_freq")
        if low is None or high is None:
            return []
        table = (self._fs.read(f"{_BASE}/{policy}/scaling_available_frequencies") or "").split()
        points = [float(khz) for khz in table if khz.isdigit()]
        if not points:
            inner = (low + (high - low) * step / (_STEPS - 1) for step in range(1, _STEPS - 1))
            points = sorted({low, *(_RATIO_KHZ * round(khz / _RATIO_KHZ) for khz in inner), high})
        return [khz * 1e3 for khz in points if low <= khz <= high]

    def _number(self, policy: str, name: str) -> float | None:
        return self._fs.number(f"{_BASE}/{policy}/{name}")

    def _furthest(self, name: str, requested_hz: float) -> float | None:
        read = {policy: khz * 1e3 for policy in self._policies() if (khz := self._number(policy, name)) is not None}
        if not requested_hz:
            return max(read.values(), default=None)
        ratios = [seen_hz / self._targets_hz.get(policy, requested_hz) for policy, seen_hz in read.items()]
        ratio = max(ratios, key=lambda ratio: abs(ratio - 1.0), default=None)
        return None if ratio is None else requested_hz * ratio

    def _now(self, policy: str) -> dict[str, str]:
        names = [name for name in _NAMES if not (name in _LIMITS and "userspace" in self._governors(policy))]
        values = {name: self._fs.read(f"{_BASE}/{policy}/{name}") for name in names}
        if values["scaling_governor"] != "userspace":
            values.pop("scaling_setspeed", None)  # reads "<unsupported>" under any other governor
        return {name: value for name, value in values.items() if value}

    def aim(self, freq_hz: float) -> None:
        """Note to which of its points each policy is to be set; raises HardwareError where one has none, or none is."""
        policies = self._policies()
        if not policies:
            raise HardwareError("this board has no cpufreq policy: its clock cannot be set")
        for policy in policies:
            points = self._points(policy)
            if not points:
                raise HardwareError(f"{policy} has no operating point that can be set")
            self._targets_hz[policy] = min(points, key=lambda hz: abs(hz - freq_hz))

    def _pin(self, policy: str) -> None:
        khz = f"{self._targets_hz[policy] / 1e3:.0f}"
        base = f"{_BASE}/{policy}"
        if "userspace" in self._governors(policy):
            if self._fs.read(f"{base}/scaling_governor") != "userspace":
                self._fs.write(f"{base}/scaling_governor", "userspace")
            self._fs.write(f"{base}/scaling_setspeed", khz)
        else:
            self._limit(base, khz, khz)

    def _put_back(self, base: str, values: dict[str, str]) -> None:
        low, high = values.get("scaling_min_freq"), values.get("scaling_max_freq")
        if low and high:
            self._limit(base, low, high)
        if speed := values.get("scaling_setspeed"):
            self._fs.write(f"{base}/scaling_setspeed", speed)
        if (governor := values.get("scaling_governor")) and self._fs.read(f"{base}/scaling_governor") != governor:
            self._fs.write(f"{base}/scaling_governor", governor)

    def _limit(self, base: str, low: str, high: str) -> None:
        """Write the limits in the order that never has min above max."""
        now_low, now_high = self._fs.number(f"{base}/scaling_min_freq"), self._fs.number(f"{base}/scaling_max_freq")
        if (now_low, now_high) == (float(low), float(high)):
            return
        if now_high is not None and float(low) > now_high:
            order = (("scaling_max_freq", high), ("scaling_min_freq", low))
        else:
            order = (("scaling_min_freq", low), ("scaling_max_freq", high))
        for name, khz in order:
            self._fs.write(f"{base}/{name}", khz)
