"""Processor packages by their energy counters: wraps, rights, counters that stand still, and what counts twice."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_client.hardware import rapl
from edge_client.hardware.rapl import Package, Rapl
from tests.edge_client.captured import CapturedFs, board, reason, set_file
from tests.edge_client.trees import put

ZONES = "sys/class/powercap"
RANGE_UJ = 262143328850
DENIED = OSError(errno.EACCES, "")


class Counters:
    """Sets energy_uj files of zones (rapl_0 is intel-rapl:0); as `pause`, each goes up, as on a processor that runs."""

    def __init__(self, fs: CapturedFs, **zones_uj: int) -> None:
        self._fs = fs
        self.now: dict[str, int] = {}
        self.set(**zones_uj)

    def set(self, **zones_uj: int) -> None:
        self.now |= zones_uj
        for zone, value in self.now.items():
            name = "intel-" + zone.replace("_", ":").replace(":mmio", "-mmio")
            set_file(self._fs, f"{ZONES}/{name}/energy_uj", value)

    def __call__(self, seconds: float) -> None:
        self.set(**{zone: value + 100 for zone, value in self.now.items()})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def one_package(tmp_path: Path, range_uj: float = RANGE_UJ) -> tuple[CapturedFs, Rapl, Clock]:
    fs, clock = board("x86-rapl", tmp_path), Clock()
    return fs, Rapl(fs, [Package("package-0", f"{ZONES}/intel-rapl:0", range_uj)], clock), clock


def read(fs: CapturedFs, meter: Rapl, clock: Clock, energy_uj: object, after_s: float = 0.1) -> float | None:
    set_file(fs, f"{ZONES}/intel-rapl:0/energy_uj", energy_uj)
    clock.now += after_s
    return meter.read_energy_j()


# ---- what is found -----------------------------------------------------------------------------------------------


def test_without_root_it_is_unavailable_and_says_why(tmp_path: Path) -> None:
    assert reason(rapl.find(board("x86-rapl", tmp_path))) == (
        f"/{ZONES}/intel-rapl:0/energy_uj: Permission denied; let this user read it: "
        f"sudo chmod o+r /{ZONES}/intel-rapl:0/energy_uj"
    )
    _, meter, _ = one_package(tmp_path / "again")
    assert meter.read_energy_j() is None


def test_a_package_counts_once_whoever_else_shows_it(tmp_path: Path) -> None:
    # The laptop shows its package through MMIO too, and psys holds it: 5 J, not 10, 15 or 20.
    fs = board("x86-laptop", tmp_path)
    count = Counters(fs, rapl_0=1_000_000, rapl_1=1_000_000, rapl_mmio_0=1_000_000, rapl_0_0=1_000_000)
    meter = rapl.find(fs, count)
    assert isinstance(meter, Rapl)
    assert (meter.info.name, meter.info.boundary) == ("rapl", "cpu_package")
    assert [package.folder for package in meter._packages] == [f"{ZONES}/intel-rapl:0"]
    clock = Clock()
    meter = Rapl(fs, meter._packages, clock)
    assert meter.read_energy_j() == 0.0
    clock.now += 1.0
    count.set(**{zone: value + 5_000_000 for zone, value in count.now.items()})
    assert meter.read_energy_j() == 5.0


def test_mmio_serves_where_it_alone_is_there(tmp_path: Path) -> None:
    files = {f"{ZONES}/intel-rapl-mmio:0/{name}": value for name, value in
             (("name", "package-0"), ("max_energy_range_uj", RANGE_UJ), ("energy_uj", 5))}  # fmt: skip
    fs = CapturedFs(put(tmp_path, files).root)
    assert isinstance(rapl.find(fs, Counters(fs, rapl_mmio_0=5)), Rapl)


def test_all_packages_and_no_memory_are_summed(tmp_path: Path) -> None:
    fs, clock = board("x86-two-sockets", tmp_path), Clock()
    count = Counters(fs, rapl_0=10, rapl_1=20, rapl_0_0=0, rapl_1_0=0)
    meter = rapl.find(fs, count)
    assert isinstance(meter, Rapl)
    assert [package.name for package in meter._packages] == ["package-0", "package-1"]
    meter = Rapl(fs, meter._packages, clock)
    count.set(rapl_0=1_000_000, rapl_1=2_000_000)
    assert meter.read_energy_j() == 0.0
    clock.now += 1.0
    count.set(rapl_0=3_000_000, rapl_1=2_500_000, rapl_0_0=9_000_000)
    assert meter.read_energy_j() == 2.5


def test_amd_uses_the_same_files(tmp_path: Path) -> None:
    fs = board("x86-amd", tmp_path)
    assert isinstance(rapl.find(fs, Counters(fs, rapl_0=7)), Rapl)


def test_dies_of_one_package_are_told_apart(tmp_path: Path) -> None:
    files = {}
    for n in (0, 1):
        zone = f"{ZONES}/intel-rapl:{n}"
        files |= {f"{zone}/name": f"package-0-die-{n}", f"{zone}/max_energy_range_uj": RANGE_UJ, f"{zone}/energy_uj": 1}
    fs = CapturedFs(put(tmp_path, files).root)
    meter = rapl.find(fs, Counters(fs, rapl_0=1, rapl_1=1))
    assert isinstance(meter, Rapl)
    assert len(meter._packages) == 2


def test_a_counter_that_stands_still_is_no_meter(tmp_path: Path) -> None:
    fs = board("x86-amd", tmp_path, {f"{ZONES}/intel-rapl:0/energy_uj": 0})
    slept: list[float] = []
    assert reason(rapl.find(fs, slept.append)) == (
        f"/{ZONES}/intel-rapl:0/energy_uj stands still, as in many virtual machines; use another meter"
    )
    assert sum(slept) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "No such file or directory"), (DENIED, "Permission denied"), ("", "no number"), (0, "no number")],
)
def test_without_the_range_a_wrap_cannot_be_told(tmp_path: Path, value: object, said: str) -> None:
    path = f"{ZONES}/intel-rapl:0/max_energy_range_uj"
    found = rapl.find(board("x86-amd", tmp_path, {path: value}))
    assert reason(found) == f"/{path}: {said}; without it a counter that wraps cannot be told from one that jumps"


def test_a_board_without_rapl(tmp_path: Path) -> None:
    assert "load the module" in reason(rapl.find(board("raspberry-pi-4b", tmp_path)))


# ---- what it counts ----------------------------------------------------------------------------------------------


def test_a_wrap_is_no_jump(tmp_path: Path) -> None:
    # 200 uJ before the end of the range, then 300 uJ past it: 500 uJ
    fs, meter, clock = one_package(tmp_path)
    assert read(fs, meter, clock, RANGE_UJ - 200) == 0.0
    assert read(fs, meter, clock, 300) == pytest.approx(500e-6)
    assert read(fs, meter, clock, 1_000_300) == pytest.approx(1 + 500e-6)


def test_failed_reads_in_between_lose_nothing(tmp_path: Path) -> None:
    fs, meter, clock = one_package(tmp_path)
    assert read(fs, meter, clock, 5_000_000) == 0.0
    assert read(fs, meter, clock, DENIED) is None
    assert read(fs, meter, clock, None) is None
    assert read(fs, meter, clock, "garbage") is None
    assert read(fs, meter, clock, "nan") is None
    assert read(fs, meter, clock, 9_000_000) == 4.0


def test_a_counter_that_does_not_move_gives_nothing_not_zero(tmp_path: Path) -> None:
    fs, meter, clock = one_package(tmp_path)
    assert read(fs, meter, clock, 5_000_000) == 0.0
    assert read(fs, meter, clock, 5_000_000) is None
    assert read(fs, meter, clock, 5_000_000) is None
    assert read(fs, meter, clock, 6_000_000) == 1.0


def test_a_jump_begins_anew_below_every_value_before(tmp_path: Path) -> None:
    # Back from suspend the counter starts at 0: taken for a wrap that would be 262 kJ in a tenth of a second.
    fs, meter, clock = one_package(tmp_path)
    assert read(fs, meter, clock, 5_000_000) == 0.0
    assert read(fs, meter, clock, 10_000) == -1.0
    assert read(fs, meter, clock, 1_010_000) == 0.0
    assert read(fs, meter, clock, 500) == -2.0


def test_after_so_long_it_may_have_wrapped_twice(tmp_path: Path) -> None:
    # 65.5 kJ at up to 1000 W: after 66 s nobody knows
    fs, meter, clock = one_package(tmp_path, range_uj=65532610987)
    assert read(fs, meter, clock, 5_000_000) == 0.0
    assert read(fs, meter, clock, 6_000_000, after_s=60.0) == 1.0
    assert read(fs, meter, clock, 7_000_000, after_s=66.0) == -1.0
