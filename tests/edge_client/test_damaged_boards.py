"""Every file of captured boards, damaged in every way, one at a time: no meter gives 0 for what it cannot know."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_client.hardware import meters, rapl
from edge_client.hardware.interfaces import EnergyCounter, Meter, Missing
from edge_client.hardware.meters import Wanted
from edge_client.hardware.rapl import Package, Rapl
from edge_client.hardware.vcgencmd import Vcgencmd
from firmware_profiles import trees
from tests.edge_client.captured import CapturedFs, board, set_file

DAMAGES = (
    None, "", "garbage", "0", "-1", "nan", "inf", "1e400", "0x10", "12 34", "\x00\xff",
    *(OSError(code, "") for code in (errno.EACCES, errno.EIO, errno.ENODATA, errno.EAGAIN, errno.ENODEV)),
)  # fmt: skip
BOARDS = (
    ("ina3221", "jetson-nano", "sys/bus/i2c/"),
    ("ina3221", "jetson-orin-nano", "sys/bus/i2c/"),
    ("hwmon", "raspberry-pi-4b", "sys/class/hwmon/hwmon2/"),
    ("pmic", "raspberry-pi-5", "bin/vcgencmd"),
    ("modelled", "raspberry-pi-4b", "proc/"),
    ("modelled", "raspberry-pi-4b", "sys/devices/system/cpu/cpufreq/"),
)
ZONE = "sys/class/powercap/intel-rapl:0"


def find(fs: CapturedFs, kind: str) -> Meter | Missing:
    name, path = fs.read("proc/device-tree/model") or "", fs.command("vcgencmd")
    found = meters.find(fs, name, Vcgencmd(fs, path) if path else None, Wanted(kind))
    return found.meter or Missing(kind, found.reason)


def watts(fs: CapturedFs, meter: Meter | Missing) -> float | None:
    """One reading, after one before it."""
    if isinstance(meter, Missing):
        assert meter.reason
        return None
    assert not isinstance(meter, EnergyCounter)
    meter.read_power_w()
    if fs.trouble("proc/stat") is None and (fs.read("proc/stat") or "").startswith("cpu  10132 "):
        set_file(fs, "proc/stat", (fs.read("proc/stat") or "").replace("cpu  10132 ", "cpu  10232 "))
    return meter.read_power_w()


@pytest.mark.parametrize(("kind", "tree", "folder"), BOARDS)
def test_no_damage_reads_as_nothing_drawn(tmp_path: Path, kind: str, tree: str, folder: str) -> None:
    whole = watts(fs := board(tree, tmp_path / "whole"), find(fs, kind))
    assert whole is not None
    assert 1 < whole < 10  # a small board; another unit would be out of this by far
    files = trees.load(tree)
    damaged = [path for path in files if path.startswith(folder) and not (fs.root / path).is_symlink()]
    assert damaged
    for path in damaged:
        for damage in DAMAGES:
            found = find(fs, kind)
            set_file(fs, path, damage)
            for meter in (found, find(fs, kind)):  # found before, and after
                seen = watts(fs, meter)
                assert seen is None or 0 < seen < 10, (path, damage, seen)
            restore(fs, files, path, "proc/stat")


def restore(fs: CapturedFs, files: trees.Tree, *paths: str) -> None:
    """The files as they were captured."""
    for path in paths:
        entry = files[path]
        set_file(fs, path, "")
        (fs.root / path).write_text(entry.text)
        (fs.root / path).chmod(0o755 if entry.executable else 0o644)


@pytest.mark.parametrize("damage", DAMAGES, ids=repr)
@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj", "name"])
def test_no_damage_to_a_counter_reads_as_nothing_drawn(tmp_path: Path, file: str, damage: object) -> None:
    fs = board("x86-rapl", tmp_path)
    set_file(fs, f"{ZONE}/energy_uj", 5_000_000)
    now = [100.0]
    meter = Rapl(fs, [Package("package-0", ZONE, 262143328850)], lambda: now[0])
    assert meter.read_energy_j() == 0.0
    set_file(fs, f"{ZONE}/{file}", damage)
    now[0] += 1.0
    seen = meter.read_energy_j()
    assert seen is None or seen < 0  # it began anew
    found = rapl.find(fs, lambda _: None)
    assert isinstance(found, Missing)
    assert found.reason
