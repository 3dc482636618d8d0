"""Virtual boards with something wrong, and boards of other kinds: what the client makes of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_client import accounting, plausible
from edge_client.accounting import PowerSample
from edge_client.agent.obedience import Job, Obedience
from edge_client.agent.profile import measured_twice
from edge_client.conditions import Rules, obstacle
from edge_client.hardware import rapl
from edge_client.hardware.board import Board, discover
from edge_client.hardware.interfaces import EnergyCounter
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs
from edge_client.protocol.messages import EnergyReading, NetworkSpec, OppPoint
from firmware_profiles.loader import load_profile
from tools.boards.board import VirtualBoard
from tools.boards.faults import Faults
from tools.boards.link import LinkMeter

JOB = Job(NetworkSpec(name="vgg9", image_shape=(32, 32, 3), n_classes=10), 32)


class Twin:
    """A virtual board that nothing runs on, its time moved by hand, and the client's view of it."""

    def __init__(self, folder: Path, profile: str, faults: Faults) -> None:
        self.twin = VirtualBoard("b", load_profile(profile), 0.5, folder, 0, LinkMeter(), faults)
        self.windows = 0
        self.now = time.monotonic() + 1.0  # ahead of the clock that the board was made by
        fs = SysFs(self.twin.root)
        self.twin.tick(self.now)
        self.client: Board = discover(fs, SettingsFile(folder / "settings.json"))

    def go(self, seconds: float, step_s: float = 0.05) -> None:
        for _ in range(round(seconds / step_s)):
            self.now += step_s
            self.twin.tick(self.now)

    def profiled(self, freqs_hz: tuple[float, ...]) -> tuple[OppPoint, ...]:
        """As the client profiles it; a sample takes what the board's law says at its true clock."""

        async def measure_at(freq_hz: float | None) -> OppPoint:
            assert freq_hz is not None
            with self.client.cpufreq.hold(freq_hz):
                self.go(0.2)
                seen = self.client.cpufreq.read(freq_hz)
                assert seen.accepted_hz == freq_hz  # the kernel's files repeat the request, whatever is true
                s_per_sample = 0.02 * self.twin.law.relative_tau(self.twin.true_hz)
            self.go(0.2)
            self.windows += 1
            return OppPoint(
                freq_hz=freq_hz, verified_hz=seen.verified_hz, s_per_sample=s_per_sample, j_per_sample=None,
                samples=100, duration_s=2.0, uncertainty=None, starved=False,
            )  # fmt: skip

        board, by = Obedience(), self.client.verified_by
        twice = measured_twice(freqs_hz, measure_at, lambda points: board.doubtful(points, by))
        first, points = asyncio.run(twice)
        return board.profiled(JOB, points, by, first)

    def energy(self, seconds: float) -> tuple[EnergyReading, float]:
        """The client's joules of an idle stretch, and the true ones."""
        meter = self.client.meter
        assert meter is not None
        assert not isinstance(meter, EnergyCounter)
        start, before_j, polls = self.now, self.twin.state.energy_j, []
        for _ in range(round(seconds / 0.1)):
            self.go(0.1)
            polls.append((self.now, meter.read_power_w()))
        samples = [PowerSample(t, power_w) for t, power_w in plausible.believed(polls)]
        reading = accounting.integrate(samples, start, self.now, period_s=0.1, info=meter.info, idle_power_w=None)
        return reading, self.twin.state.energy_j - before_j

    def close(self) -> None:
        self.twin.close()


PI4 = (600e6, 900e6, 1200e6, 1500e6)
NANO = (403.2e6, 614.4e6, 921.6e6, 1132.8e6, 1479e6)


@pytest.mark.parametrize(
    ("profile", "clocks", "faults", "findings", "by"),
    [
        ("raspberry-pi-4b", PI4, Faults(), [None] * 4, "firmware"),
        ("raspberry-pi-4b", PI4, Faults(clock_not_applied=True), ["not_applied"] * 3 + [None], "firmware"),
        ("raspberry-pi-4b", PI4, Faults(clock_floor_hz=1200e6), ["floor", "floor", None, None], "firmware"),
        ("raspberry-pi-4b", PI4, Faults(clock_cap_hz=900e6), [None, None, "cap", "cap"], "firmware"),
        ("raspberry-pi-4b", PI4, Faults(clock_boost=0.1), ["boost"] * 4, "firmware"),
        ("jetson-nano", NANO, Faults(), [None] * 5, "driver"),
        ("jetson-nano", NANO, Faults(clock_not_applied=True), ["not_applied"] * 4 + [None], "work"),
        ("jetson-nano", NANO, Faults(clock_floor_hz=921.6e6), ["floor", "floor", None, None, None], "work"),
        ("jetson-nano", NANO, Faults(clock_cap_hz=921.6e6), [None, None, None, "cap", "cap"], "work"),
    ],
)
def test_each_lie_of_the_clock_is_caught_and_named(
    profile: str, clocks: tuple[float, ...], faults: Faults, findings: list[str | None], by: str, tmp_path: Path
) -> None:
    board = Twin(tmp_path, profile, faults)
    try:
        points = board.profiled(clocks)
    finally:
        board.close()
    assert [point.finding for point in points] == findings
    assert {point.verified_by for point in points if point.finding} <= {by}
    assert board.windows <= (2 if by == "work" else 1) * len(clocks)


def test_a_pi_5_runs_at_1500_below_that_by_its_nature(tmp_path: Path) -> None:
    board = Twin(tmp_path, "raspberry-pi-5", Faults())
    try:
        points = board.profiled((1000e6, 1500e6, 2400e6))
    finally:
        board.close()
    assert [(point.verified_hz, point.finding) for point in points] == [
        (1500e6, "floor"), (1500e6, None), (2400e6, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "limits"), [("raspberry-pi-4b", {"soft_limit", "throttled"}), ("jetson-nano", {"cooling"})]
)
def test_throttling_is_seen_and_the_ledger_has_it(profile: str, limits: set[str], tmp_path: Path) -> None:
    board = Twin(tmp_path, profile, Faults(ambient_c=80.0, throttle_c=85.0))
    assert not (board.client.limits.read() or set()) - {"soft_limit", "cooling", "throttled"}
    with board.client.cpufreq.hold(board.twin.law.opps_hz[-1]):
        board.go(120.0)  # idle at 80 C of air it gets too hot
        assert board.client.limits.read() == limits
        seen = board.client.cpufreq.read(board.twin.law.opps_hz[-1])
    if board.client.firmware:
        assert seen.verified_hz is not None
        assert seen.verified_hz < 0.98 * seen.requested_hz
    board.close()
    last = json.loads(board.twin.ledger_path.read_text().splitlines()[-1])
    assert "throttled" in last["limits"]
    assert last["true_hz"] < last["freq_hz"]


def test_under_voltage_is_seen(tmp_path: Path) -> None:
    board = Twin(tmp_path, "raspberry-pi-4b", Faults(under_voltage_w=1.0))
    board.go(1.0)
    assert board.client.limits.read() == {"under_voltage", "capped"}
    assert board.client.cpufreq.read(1500e6).verified_hz == 600e6
    board.close()


def test_glitches_are_left_out_of_the_joules(tmp_path: Path) -> None:
    board = Twin(tmp_path, "raspberry-pi-4b", Faults(sensor_glitch=0.05))
    reading, true_j = board.energy(30.0)
    board.close()
    assert reading.missed_samples > 0
    assert reading.energy_j == pytest.approx(true_j, rel=0.03)  # the sensor's own gain is 1 % off
    assert reading.uncertainty is not None
    assert reading.uncertainty > 0.05


@pytest.mark.parametrize("faults", [Faults(sensor_vanishes_after_s=3.0), Faults(sensor_stuck_after_s=3.0)])
def test_a_dead_sensor_gives_no_joules(faults: Faults, tmp_path: Path) -> None:
    board = Twin(tmp_path, "raspberry-pi-4b", faults)
    board.go(3.0)
    reading, _ = board.energy(70.0)
    board.close()
    assert (reading.energy_j, reading.source) == (None, "unavailable")
    assert reading.missed_samples > 600


def test_a_battery_drains_bars_work_and_switches_the_board_off(tmp_path: Path) -> None:
    board = Twin(tmp_path, "raspberry-pi-4b", Faults(battery_wh=0.01))  # 36 J, 2.7 W idle
    client = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    board.twin.switch_off = client.kill
    try:
        board.go(10.0)
        now = board.client.conditions(time.gmtime(0))
        assert now.fed is False
        assert now.battery_share is not None
        assert 0.05 < now.battery_share < 0.3
        found = obstacle(Rules(min_battery_share=0.4), now)
        assert found is not None
        assert found.rule == "battery"
        assert client.poll() is None
        board.go(4.0)
        assert client.wait(10) == -9
    finally:
        client.kill()
        client.wait()
        assert client.stdin is not None
        client.stdin.close()
        board.close()


# ---- boards of other kinds ----


def test_two_clusters_are_set_and_the_slower_one_sets_the_pace(tmp_path: Path) -> None:
    board = Twin(tmp_path, "jetson-orin-nano", Faults())
    second = board.twin.root / "sys/devices/system/cpu/cpufreq/policy4"
    assert (second / "affected_cpus").read_text() == "4 5\n"
    assert board.client.cores == 6
    with board.client.cpufreq.hold(729.6e6):
        board.go(0.2)
        assert board.twin.true_hz == 729.6e6
        assert board.client.cpufreq.read(729.6e6).accepted_hz == 729.6e6
        (second / "scaling_setspeed").write_text("345600\n")  # somebody meddles with one of them
        board.go(0.2)
        assert board.twin.true_hz == 345.6e6
        assert board.client.cpufreq.read(729.6e6).accepted_hz == pytest.approx(345.6e6)
    board.go(0.2)
    assert board.twin.cpufreq.as_booted
    reading, true_j = board.energy(10.0)
    board.close()
    assert reading.energy_j == pytest.approx(true_j, rel=0.03)


def test_without_a_userspace_governor_the_clock_is_pinned_and_rapl_wraps(tmp_path: Path) -> None:
    board = Twin(tmp_path, "x86-rapl", Faults(sensor_range_j=120.0))
    clock = board.client.cpufreq
    assert clock.available_hz() == (0.8e9, 1.5e9, 2.2e9, 2.9e9, 3.6e9)
    with clock.hold(1.5e9):
        board.go(0.2)
        assert board.twin.true_hz == 1.5e9
        assert clock.read(1.5e9).accepted_hz == 1.5e9
    board.go(0.2)
    assert board.twin.true_hz == 3.6e9  # powersave of intel_pstate goes as fast as it is asked to
    assert board.twin.cpufreq.as_booted

    meter = rapl.find(SysFs(board.twin.root), lambda _: board.go(0.1))
    assert isinstance(meter, rapl.Rapl)
    meter._now = lambda: board.now
    start, before_j = meter.read_energy_j(), board.twin.state.energy_j
    seconds_before, end = board.twin.state.seconds, None
    for _ in range(600):
        board.go(0.1)
        end = meter.read_energy_j()
    drawn_j, seconds = board.twin.state.energy_j - before_j, board.twin.state.seconds - seconds_before
    board.close()
    assert start is not None
    assert end is not None
    package_j = (drawn_j - 4.0 * seconds) / 1.12
    assert package_j > 240.0  # it has wrapped twice
    assert end - start == pytest.approx(package_j, rel=0.06)  # of a gain that is 2 % off, twice as much at most
