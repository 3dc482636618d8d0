"""The clock on trees of files as real boards have them."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_client.doctor import checks
from edge_client.errors import HardwareError
from edge_client.hardware.board import discover
from edge_client.hardware.cpufreq import CpuFreqPolicies
from edge_client.hardware.interfaces import ClockReading
from edge_client.hardware.sysfs import SysFs
from edge_client.hardware.vcgencmd import Vcgencmd
from tests.edge_client.trees import NANO_KHZ, POLICY, cpufreq, nano, put, settings


class Recorder(SysFs):
    """Files below a root; remembers what was written, in order, and can refuse a file."""

    log: list[tuple[str, str]]
    refuse: set[str]

    def __init__(self, root: Path, refuse: Sequence[str] = ()) -> None:
        super().__init__(root)
        object.__setattr__(self, "log", [])
        object.__setattr__(self, "refuse", set(refuse))

    def write(self, path: str, text: str) -> None:
        name = path.rsplit("/", 1)[1]
        if name in self.refuse:
            raise HardwareError(f"/{path}: {text!r} was refused")
        self.log.append((name, text))
        super().write(path, text)


def test_userspace_governor_sets_the_speed_and_puts_the_governor_back(tmp_path: Path) -> None:
    put(tmp_path, cpufreq())
    fs, file = Recorder(tmp_path), settings(tmp_path)
    clock = CpuFreqPolicies(fs, file)
    assert clock.available_hz() == tuple(khz * 1e3 for khz in NANO_KHZ)
    with clock.hold(710.4e6):
        assert fs.log == [("scaling_governor", "userspace"), ("scaling_setspeed", "710400")]
        assert file.load()["cpufreq"] == {"policy0/scaling_governor": "schedutil"}
    assert fs.log[2:] == [("scaling_governor", "schedutil")]
    assert not file.path.exists()


def test_what_cooling_allowed_for_a_while_does_not_become_the_limit(tmp_path: Path) -> None:
    """scaling_max_freq shows the lowest of all that limit the clock (Jetsons cool that way): written back it would be
    the owner's, and each hot task would take some more."""
    put(tmp_path, cpufreq() | {f"{POLICY}/scaling_max_freq": 921600})
    fs = Recorder(tmp_path)
    with CpuFreqPolicies(fs, settings(tmp_path)).hold(710.4e6):
        (tmp_path / f"{POLICY}/scaling_max_freq").write_text("1479000")  # it has cooled down
    assert [name for name, _ in fs.log] == ["scaling_governor", "scaling_setspeed", "scaling_governor"]


def test_a_speed_set_by_the_owner_comes_back(tmp_path: Path) -> None:
    put(tmp_path, cpufreq(governor="userspace") | {f"{POLICY}/scaling_setspeed": 921600})
    fs = Recorder(tmp_path)
    with CpuFreqPolicies(fs, settings(tmp_path)).hold(204.1e6):
        pass
    assert fs.log == [("scaling_setspeed", "204000"), ("scaling_setspeed", "921600")]


def pinned(root: Path, low: int, high: int) -> Recorder:
    """A policy without `userspace` and without a table (intel_pstate in active mode)."""
    files = cpufreq((low, high), "powersave") | {f"{POLICY}/scaling_available_governors": "performance powersave"}
    del files[f"{POLICY}/scaling_available_frequencies"]
    put(root, files)
    return Recorder(root)


def test_without_userspace_the_clock_is_pinned_by_its_limits(tmp_path: Path) -> None:
    fs = pinned(tmp_path, 800_000, 2_000_000)
    clock = CpuFreqPolicies(fs, settings(tmp_path))
    assert clock.available_hz() == (0.8e9, 1.1e9, 1.4e9, 1.7e9, 2.0e9)
    with clock.hold(1.1e9):
        assert fs.log == [("scaling_min_freq", "1100000"), ("scaling_max_freq", "1100000")]
    assert fs.log[2:] == [("scaling_min_freq", "800000"), ("scaling_max_freq", "2000000")]


def test_without_a_table_only_clocks_are_offered_that_the_processor_has(tmp_path: Path) -> None:
    """1475 MHz would run at 1500 and count as a clock that is not obeyed, as 825 at 900 does."""
    clock = CpuFreqPolicies(pinned(tmp_path, 400_000, 4_700_000), settings(tmp_path))
    assert clock.available_hz() == (0.4e9, 1.5e9, 2.6e9, 3.6e9, 4.7e9)
    assert CpuFreqPolicies(pinned(tmp_path, 1_470_000, 1_490_000), settings(tmp_path)).available_hz() == (
        1.47e9,
        1.49e9,
    )
    assert CpuFreqPolicies(pinned(tmp_path, 800_000, 800_000), settings(tmp_path)).available_hz() == (0.8e9,)


@pytest.mark.parametrize(
    ("now", "then", "first"),
    [
        ((800, 800), (1000, 1000), "scaling_max_freq"),  # up: max first, or min would exceed it
        ((1000, 1000), (800, 800), "scaling_min_freq"),  # down: min first
        ((800, 1000), (900, 900), "scaling_min_freq"),
        ((900, 900), (800, 1000), "scaling_min_freq"),
        ((800, 900), (900, 1000), "scaling_min_freq"),
    ],
)
def test_min_never_exceeds_max_on_the_way(
    tmp_path: Path, now: tuple[int, int], then: tuple[int, int], first: str
) -> None:
    put(tmp_path, {f"{POLICY}/scaling_min_freq": now[0], f"{POLICY}/scaling_max_freq": now[1]})
    fs = Recorder(tmp_path)
    CpuFreqPolicies(fs, settings(tmp_path))._limit(POLICY, str(then[0]), str(then[1]))
    assert fs.log[0][0] == first
    limits = dict(zip(("scaling_min_freq", "scaling_max_freq"), now, strict=True))
    for name, khz in fs.log:
        limits[name] = int(khz)
        assert limits["scaling_min_freq"] <= limits["scaling_max_freq"]
    assert tuple(limits.values()) == then
    fs.log.clear()
    CpuFreqPolicies(fs, settings(tmp_path))._limit(POLICY, str(then[0]), str(then[1]))
    assert fs.log == []


def test_limits_of_the_owner_are_kept(tmp_path: Path) -> None:
    put(tmp_path, cpufreq() | {f"{POLICY}/scaling_max_freq": 921600})
    clock = CpuFreqPolicies(Recorder(tmp_path), settings(tmp_path))
    assert max(clock.available_hz()) == 921.6e6


def test_all_policies_are_set_and_the_worst_is_read(tmp_path: Path) -> None:
    second = "sys/devices/system/cpu/cpufreq/policy4"
    put(tmp_path, {**cpufreq(), **cpufreq((102000, 1000000), policy=second)})
    fs = Recorder(tmp_path)
    clock = CpuFreqPolicies(fs, settings(tmp_path))
    with clock.hold(921.6e6):
        assert [value for name, value in fs.log if name == "scaling_setspeed"] == ["921600", "1000000"]
        (tmp_path / f"{POLICY}/scaling_cur_freq").write_text("921600")
        (tmp_path / f"{second}/scaling_cur_freq").write_text("1000000")
        # each stands where it was set, though one of them not at the request
        assert clock.read(921.6e6) == ClockReading(921.6e6, 921.6e6, 921.6e6 * (1479 / 921.6))
        (tmp_path / f"{second}/scaling_cur_freq").write_text("500000")
        assert clock.read(921.6e6).accepted_hz == 460.8e6
    assert clock.read(0.0) == ClockReading(0.0, 921.6e6, 1479e6)


def test_a_trainer_bound_to_some_cpus_leaves_the_other_cluster_alone(tmp_path: Path) -> None:
    second = "sys/devices/system/cpu/cpufreq/policy4"
    put(tmp_path, {**cpufreq(), **cpufreq((102000, 1000000), policy=second), f"{second}/affected_cpus": "4 5"})
    fs = Recorder(tmp_path)
    clock = CpuFreqPolicies(fs, settings(tmp_path), cpus=(4,))
    assert clock.available_hz() == (102e6, 1000e6)
    with clock.hold(102e6):
        assert (tmp_path / f"{POLICY}/scaling_governor").read_text() == "schedutil\n"
        assert (tmp_path / f"{second}/scaling_setspeed").read_text() == "102000\n"
    assert CpuFreqPolicies(fs, settings(tmp_path), cpus=(7,)).available_hz() == ()


class Asleep(Recorder):
    """A policy whose CPUs are all off, as kernels from 5.18 on answer for it."""

    def open(self, path: str) -> int:
        if "/policy4/" in path:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return super().open(path)


@pytest.mark.parametrize("kernel", [Recorder, Asleep])
def test_a_cluster_that_is_off_is_left_alone(kernel: type[Recorder], tmp_path: Path) -> None:
    second = "sys/devices/system/cpu/cpufreq/policy4"  # an Orin Nano at 7 W; before 5.18 it names no CPU
    put(tmp_path, {**cpufreq(), **cpufreq((102000, 1000000), policy=second), f"{second}/affected_cpus": ""})
    fs = kernel(tmp_path)
    clock = CpuFreqPolicies(fs, settings(tmp_path))
    assert clock.available_hz() == tuple(khz * 1e3 for khz in NANO_KHZ)
    with clock.hold(710.4e6):
        assert fs.log == [("scaling_governor", "userspace"), ("scaling_setspeed", "710400")]
        (tmp_path / f"{POLICY}/scaling_cur_freq").write_text("710400")
        assert clock.read(710.4e6).accepted_hz == 710.4e6
    assert checks.clock(discover(fs, settings(tmp_path))).message.startswith("1 cpufreq policy (schedutil now), 7 ")


def test_a_refused_write_restores_what_was_changed(tmp_path: Path) -> None:
    put(tmp_path, cpufreq())
    fs, file = Recorder(tmp_path, ["scaling_setspeed"]), settings(tmp_path)
    with pytest.raises(HardwareError, match="scaling_setspeed"), CpuFreqPolicies(fs, file).hold(204e6):
        raise AssertionError("not reached")
    assert fs.log == [("scaling_governor", "userspace"), ("scaling_governor", "schedutil")]
    assert not file.path.exists()


def test_what_a_killed_client_left_is_put_back_at_the_next_start(tmp_path: Path) -> None:
    fs = nano(tmp_path)
    held = CpuFreqPolicies(fs, settings(tmp_path)).hold(204e6)
    held.__enter__()  # and the client is killed here
    assert fs.read(f"{POLICY}/scaling_governor") == "userspace"
    board = discover(fs, settings(tmp_path))
    board.restore()
    assert fs.read(f"{POLICY}/scaling_governor") == "schedutil"
    assert not settings(tmp_path).path.exists()
    board.restore()  # nothing is left to do
    assert fs.read(f"{POLICY}/scaling_governor") == "schedutil"


def test_what_cannot_be_restored_stays_in_the_file(tmp_path: Path) -> None:
    put(tmp_path, cpufreq())
    fs, file = Recorder(tmp_path), settings(tmp_path)
    with CpuFreqPolicies(fs, file).hold(204e6):
        fs.refuse.add("scaling_governor")
    assert "cpufreq" in file.load()


def test_a_clock_that_may_not_be_written_is_not_offered(tmp_path: Path) -> None:
    assert CpuFreqPolicies(SysFs(tmp_path), settings(tmp_path)).available_hz() == ()
    files = cpufreq()
    del files[f"{POLICY}/scaling_setspeed"]
    assert CpuFreqPolicies(put(tmp_path, files), settings(tmp_path)).available_hz() == ()


def test_a_raspberry_pi_is_verified_by_its_firmware(tmp_path: Path) -> None:
    fs = put(tmp_path, cpufreq() | {"bin/vcgencmd": "#!/bin/sh\necho 'frequency(48)=600117184'"})
    firmware = Vcgencmd(fs, str(tmp_path / "bin/vcgencmd"))
    read = CpuFreqPolicies(fs, settings(tmp_path), firmware).read(1479e6)
    assert read == ClockReading(requested_hz=1479e6, accepted_hz=1479e6, verified_hz=600117184)
