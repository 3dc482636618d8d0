"""The policy refuses what a kernel refuses, and the files show it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.boards.cpufreq_tree import CpufreqTree, Policy
from tools.boards.files import Replacer

BOOT = Policy((600, 1000, 1500), "ondemand", 600, 1500, 1500)
POLICY = "sys/devices/system/cpu/cpufreq/policy0"


@pytest.mark.parametrize(
    ("writes", "expected", "cur_khz"),
    [
        ({}, BOOT, 1500),
        ({"scaling_setspeed": "600"}, BOOT, 1500),  # not with this governor
        ({"scaling_governor": "warp"}, BOOT, 1500),
        ({"scaling_governor": "powersave"}, Policy(BOOT.opps_khz, "powersave", 600, 1500, 1500), 600),
        ({"scaling_governor": "userspace\n"}, Policy(BOOT.opps_khz, "userspace", 600, 1500, 1500), 1500),
        ({"scaling_governor": "userspace", "scaling_setspeed": "600"},
         Policy(BOOT.opps_khz, "userspace", 600, 1500, 600), 600),
        # the lowest point at or above what is asked
        ({"scaling_governor": "userspace", "scaling_setspeed": "700"},
         Policy(BOOT.opps_khz, "userspace", 600, 1500, 700), 1000),
        ({"scaling_governor": "userspace", "scaling_setspeed": "9000"},
         Policy(BOOT.opps_khz, "userspace", 600, 1500, 9000), 1500),
        ({"scaling_governor": "userspace", "scaling_setspeed": "-5"},
         Policy(BOOT.opps_khz, "userspace", 600, 1500, 1500), 1500),
        ({"scaling_max_freq": "1000"}, Policy(BOOT.opps_khz, "ondemand", 600, 1000, 1500), 1000),
        ({"scaling_max_freq": "10"}, Policy(BOOT.opps_khz, "ondemand", 600, 600, 1500), 600),
        ({"scaling_min_freq": "1000", "scaling_max_freq": "1000"},
         Policy(BOOT.opps_khz, "ondemand", 1000, 1000, 1500), 1000),
        ({"scaling_min_freq": "fast"}, BOOT, 1500),
    ],
)  # fmt: skip
def test_writes(writes: dict[str, str], expected: Policy, cur_khz: int) -> None:
    policy = BOOT.apply(writes)
    assert policy == expected
    assert policy.cur_khz == cur_khz


def test_min_above_max_is_refused() -> None:
    low = BOOT.apply({"scaling_max_freq": "1000"})
    assert low.apply({"scaling_min_freq": "1500"}) == low
    # of a pair that does not fit, the half that fits is taken
    assert BOOT.apply({"scaling_min_freq": "1500", "scaling_max_freq": "1000"}).min_khz == 1500


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[CpufreqTree]:
    made = CpufreqTree(tmp_path / "root", Replacer(tmp_path / "scratch"), (6e8, 1e9, 1.5e9), "ondemand", 4)
    yield made
    made.close()


def settle(tree: CpufreqTree) -> None:
    for _ in range(4):
        tree.poll()


def test_files_as_in_sysfs(tree: CpufreqTree, tmp_path: Path) -> None:
    folder = tmp_path / "root" / POLICY
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "affected_cpus": "0 1 2 3\n",
        "related_cpus": "0 1 2 3\n",
        "cpuinfo_min_freq": "600000\n",
        "cpuinfo_max_freq": "1500000\n",
        "cpuinfo_cur_freq": "1500000\n",
        "scaling_available_frequencies": "600000 1000000 1500000\n",
        "scaling_available_governors": "conservative ondemand userspace powersave performance schedutil\n",
        "scaling_driver": "cpufreq-dt\n",
        "scaling_governor": "ondemand\n",
        "scaling_min_freq": "600000\n",
        "scaling_max_freq": "1500000\n",
        "scaling_cur_freq": "1500000\n",
        "scaling_setspeed": "<unsupported>\n",
    }


def test_a_write_takes_effect_at_the_next_poll(tree: CpufreqTree, tmp_path: Path) -> None:
    folder = tmp_path / "root" / POLICY
    assert not tree.poll()
    (folder / "scaling_governor").write_text("userspace")
    (folder / "scaling_setspeed").write_text("1000000")
    assert tree.poll()
    assert tree.freq_hz == 1e9
    assert not tree.as_booted
    assert (folder / "scaling_cur_freq").read_text() == "1000000\n"
    assert not tree.poll()
    (folder / "scaling_setspeed").write_text("600000")
    assert tree.poll()
    (folder / "scaling_governor").write_text("ondemand")
    assert tree.poll()
    assert (tree.freq_hz, tree.as_booted) == (1.5e9, True)
    settle(tree)
    assert (folder / "scaling_setspeed").read_text() == "<unsupported>\n"


def test_files_written_in_a_row_are_not_disturbed(tree: CpufreqTree, tmp_path: Path) -> None:
    folder = tmp_path / "root" / POLICY
    (folder / "scaling_governor").write_text("userspace")
    with (folder / "scaling_setspeed").open("w") as file:  # the governor looks just between open and write
        assert tree.poll()
        file.write("600000\n")
    assert tree.poll()
    assert tree.freq_hz == 6e8
    settle(tree)
    assert (folder / "scaling_setspeed").read_text() == "600000\n"
    assert tree.freq_hz == 6e8


def test_setspeed_shows_the_clock_once_userspace_is_in_charge(tree: CpufreqTree, tmp_path: Path) -> None:
    folder = tmp_path / "root" / POLICY
    (folder / "scaling_governor").write_text("userspace")
    settle(tree)
    assert (folder / "scaling_setspeed").read_text() == "1500000\n"
    (folder / "scaling_max_freq").write_text("1000000")
    settle(tree)
    assert (folder / "scaling_setspeed").read_text() == "1000000\n"


def test_a_refused_write_is_reverted(tree: CpufreqTree, tmp_path: Path) -> None:
    folder = tmp_path / "root" / POLICY
    for name, text in (("scaling_setspeed", "600000"), ("scaling_governor", "warp"), ("scaling_min_freq", "x")):
        before = (folder / name).read_text()
        (folder / name).write_text(text)
        assert tree.poll()
        assert (folder / name).read_text() == before
        settle(tree)
    (folder / "scaling_max_freq").unlink()
    (folder / "scaling_governor").write_text("ondemand")
    tree.poll()
    assert (folder / "scaling_max_freq").read_text() == "1500000\n"
    assert tree.as_booted


def test_a_half_written_file_is_left_alone(tree: CpufreqTree, tmp_path: Path) -> None:
    path = tmp_path / "root" / POLICY / "scaling_governor"
    with path.open("w") as file:
        assert not tree.poll()
        file.write("userspace")
    assert tree.poll()
    assert tree.policy.governor == "userspace"


def test_reboot_puts_everything_back(tree: CpufreqTree, tmp_path: Path) -> None:
    (tmp_path / "root" / POLICY / "scaling_governor").write_text("powersave")
    tree.poll()
    assert tree.freq_hz == 6e8
    tree.reboot()
    assert (tree.freq_hz, tree.as_booted) == (1.5e9, True)
